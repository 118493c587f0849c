"""The lab book: all runs of one place, a folder or a database, read and kept in order by the same commands."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from nablafx_core.runs.deleting import check_deletable, delete_folder, folder_size
from nablafx_core.runs.index import current_rows
from nablafx_core.runs.notes import Notes, read_notes, write_notes
from nablafx_core.runs.records import RunRecord, find_run, matching_id, run_folders
from nablafx_core.runs.rows import Row

_STAMPED = ("run.json", "notes.json", "metrics.jsonl")


class Book(Protocol):
    """All runs of one place."""

    @property
    def place(self) -> str:
        """Where it is, for messages."""

    def rows(self) -> list[Row]:
        """All runs, the newest first."""

    def id_of(self, key: str) -> str:
        """The id of a run of this place, from its beginning that no other id shares, or from ``"latest"``.

        Raises:
            RunError: if there is no such run, or several.
        """

    def find(self, key: str) -> RunRecord:
        """One run, by what `id_of` takes.

        Raises:
            RunError: if there is no such run, or several.
        """

    def edit(self, run_id: str, change: Callable[[Notes], Notes]) -> Notes:
        """Change tags and note of a run, and return them.

        Raises:
            RunError: if they cannot be written.
        """

    def check_deletable(self, run_id: str) -> None:
        """Make sure that a run may be deleted.

        Raises:
            RunError: if it is running or not really in this place.
        """

    def size(self, run_id: str) -> int:
        """Bytes that deleting a run frees."""

    def delete(self, run_id: str) -> None:
        """Remove a run for good; a kill meanwhile leaves no half of it in the list.

        Raises:
            RunError: if it may not be deleted or cannot be.
        """


class FolderBook:
    """The runs of a folder.

    Args:
        runs_dir: holds the run folders; it need not exist.
    """

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir

    @property
    def place(self) -> str:
        """The folder."""
        return str(self.runs_dir)

    def rows(self) -> list[Row]:
        """All runs, the newest first; see `index`."""

        def read(run_ids: list[str]) -> Iterator[Row]:
            return (Row.of(RunRecord.read(self.runs_dir / run_id)) for run_id in run_ids)

        stamps = {folder.name: _stamp(str(folder)) for folder in run_folders(self.runs_dir)}
        return current_rows(f"folder {self.runs_dir.resolve()}", stamps, read)

    def id_of(self, key: str) -> str:
        """See `Book.id_of`."""
        if key == "latest" and (rows := self.rows()):
            return rows[0].id
        return matching_id([folder.name for folder in run_folders(self.runs_dir)], key, self.place)

    def find(self, key: str) -> RunRecord:
        """One run, also by the path of its folder; see `Book.find`."""
        return find_run(self.runs_dir, self.id_of(key) if key == "latest" else key)

    def edit(self, run_id: str, change: Callable[[Notes], Notes]) -> Notes:
        """Change tags and note in `notes.json`."""
        folder = self.runs_dir / run_id
        before = read_notes(folder)
        notes = change(before)
        if notes != before:
            write_notes(folder, notes)
        return notes

    def check_deletable(self, run_id: str) -> None:
        """See `Book.check_deletable`."""
        check_deletable(self.runs_dir, run_id)

    def size(self, run_id: str) -> int:
        """Bytes of the files in its folder."""
        return folder_size(self.runs_dir / run_id)

    def delete(self, run_id: str) -> None:
        """See `Book.delete`."""
        delete_folder(self.runs_dir, run_id)


def _stamp(folder: str) -> str:
    """Changes with the record: the files are replaced or grow."""
    parts = []
    for name in _STAMPED:
        try:
            facts = os.stat(f"{folder}{os.sep}{name}")
            parts.append(f"{facts.st_mtime_ns} {facts.st_size} {facts.st_ino}")
        except OSError:
            parts.append("-")
    return " ".join(parts)
