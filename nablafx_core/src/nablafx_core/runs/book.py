"""All runs of one place, a folder or a database, behind one interface for the commands that list and edit runs."""

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
    """All runs of one place: a runs folder or a database."""

    @property
    def place(self) -> str:
        """Folder or address of the runs, for messages."""

    def rows(self) -> list[Row]:
        """Return all runs, the newest first."""

    def id_of(self, key: str) -> str:
        """Return the id of a run in this place.

        Args:
            key: the id, its first characters with or without the date, or ``"latest"`` for the newest run.

        Raises:
            RunError: if no run matches, or several.
        """

    def find(self, key: str) -> RunRecord:
        """Return one run; `key` is as for `id_of`.

        Raises:
            RunError: if no run matches, or several.
        """

    def edit(self, run_id: str, change: Callable[[Notes], Notes]) -> Notes:
        """Change the tags and the note of a run, and return the new ones.

        Args:
            run_id: complete id of the run.
            change: function that returns the new notes for the present ones; it may be called again if somebody else
                edits them meanwhile. If it changes nothing, nothing is written.

        Raises:
            RunError: if they cannot be written.
        """

    def check_deletable(self, run_id: str) -> None:
        """Check that a run can be deleted.

        Raises:
            RunError: if it is running, or is not stored in this place itself, such as a symbolic link to a run folder.
        """

    def size(self, run_id: str) -> int:
        """Return the number of bytes that deleting a run frees."""

    def delete(self, run_id: str) -> None:
        """Delete a run permanently. If this is killed midway, `rows` does not list the partly deleted run.

        Raises:
            RunError: if `check_deletable` refuses it, or the deletion fails.
        """


class FolderBook:
    """All runs of a folder.

    Args:
        runs_dir: folder of the run folders; may be missing.
    """

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir

    @property
    def place(self) -> str:
        """Path of the runs folder."""
        return str(self.runs_dir)

    def rows(self) -> list[Row]:
        """Return all runs, the newest first; rows of unchanged records come from the cache, see `current_rows`."""

        def read(run_ids: list[str]) -> Iterator[Row]:
            return (Row.of(RunRecord.read(self.runs_dir / run_id)) for run_id in run_ids)

        stamps = {folder.name: _stamp(str(folder)) for folder in run_folders(self.runs_dir)}
        return current_rows(f"folder {self.runs_dir.resolve()}", stamps, read)

    def id_of(self, key: str) -> str:
        """Return the id of a run; see `Book.id_of`."""
        if key == "latest" and (rows := self.rows()):
            return rows[0].id
        return matching_id([folder.name for folder in run_folders(self.runs_dir)], key, self.place)

    def find(self, key: str) -> RunRecord:
        """Return one run, also by the path of its folder; see `Book.find`."""
        return find_run(self.runs_dir, self.id_of(key) if key == "latest" else key)

    def edit(self, run_id: str, change: Callable[[Notes], Notes]) -> Notes:
        """Change the tags and the note in `notes.json` of the run's folder; see `Book.edit`."""
        folder = self.runs_dir / run_id
        before = read_notes(folder)
        notes = change(before)
        if notes != before:
            write_notes(folder, notes)
        return notes

    def check_deletable(self, run_id: str) -> None:
        """Check that a run can be deleted; see `Book.check_deletable`."""
        check_deletable(self.runs_dir, run_id)

    def size(self, run_id: str) -> int:
        """Return the number of bytes of the files in a run's folder."""
        return folder_size(self.runs_dir / run_id)

    def delete(self, run_id: str) -> None:
        """Delete a run permanently; see `Book.delete`."""
        delete_folder(self.runs_dir, run_id)


def _stamp(folder: str) -> str:
    """Return times, sizes and inodes of a record's files as a text, which changes when the record changes."""
    parts = []
    for name in _STAMPED:
        try:
            facts = os.stat(f"{folder}{os.sep}{name}")
            parts.append(f"{facts.st_mtime_ns} {facts.st_size} {facts.st_ino}")
        except OSError:
            parts.append("-")
    return " ".join(parts)
