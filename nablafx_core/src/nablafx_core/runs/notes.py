"""Tags and the note that users add to a run, in `notes.json` of its folder."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from nablafx_core.errors import RunError
from nablafx_core.files import read_json, replacing
from nablafx_core.runs.process import as_time

NAME = "notes.json"
_TAG = re.compile(r"[^\s,\x00-\x1f\x7f-\x9f]{1,100}")


@dataclass(frozen=True)
class Notes:
    """Tags and note of a run.

    Attributes:
        tags: sorted tags without duplicates.
        note: text of any length; empty if there is none.
        edited: time of the last change, ISO 8601, UTC, without a time zone; None if there was none.
    """

    tags: tuple[str, ...] = ()
    note: str = ""
    edited: str | None = None

    @classmethod
    def of(cls, found: Any) -> Notes:
        """Return the notes of a dict with the keys `tags`, `note` and `edited`; values of a wrong type are ignored."""
        if not isinstance(found, dict):
            return cls()
        tags, note, edited = found.get("tags"), found.get("note"), found.get("edited")
        return cls(
            tuple(sorted({tag for tag in tags if isinstance(tag, str)})) if isinstance(tags, list) else (),
            note if isinstance(note, str) else "",
            edited if isinstance(edited, str) else None,
        )

    def tagged(self, add: Collection[str] = (), remove: Collection[str] = ()) -> Notes:
        """Return the notes with tags added and removed.

        Args:
            add: tags to add.
            remove: tags to remove, also of those in `add`; missing ones are ignored.

        Raises:
            RunError: if a tag to add contains white space, a comma or a control character, is empty, or is longer than
                100 characters.
        """
        for tag in add:
            if not _TAG.fullmatch(tag):
                raise RunError(
                    f"invalid tag '{tag[:100]}': a tag has 1 to 100 characters, without spaces, commas and "
                    "control characters."
                )
        return self._edited(tags=tuple(sorted({*self.tags, *add} - set(remove))))

    def noted(self, text: str, append: bool = False) -> Notes:
        """Return the notes with `text` as the note or, with `append`, on a new line after the present note."""
        return self._edited(note=f"{self.note}\n{text}".strip("\n") if append else text)

    def entry(self) -> dict[str, Any]:
        """Return the content of `notes.json`."""
        return {"tags": list(self.tags), "note": self.note, "edited": self.edited}

    def _edited(self, **changes: Any) -> Notes:
        """Return changed notes; `edited` is always later than before, so that two copies can be compared.

        If nothing changes, `edited` stays as it is.
        """
        changed = replace(self, **changes)
        if changed == self:
            return self
        now = datetime.now(timezone.utc).replace(tzinfo=None)
        if self.edited is not None:
            with suppress(ValueError):
                now = max(now, as_time(self.edited).replace(tzinfo=None) + timedelta(microseconds=1))
        return replace(changed, edited=now.isoformat(timespec="microseconds"))


def read_notes(folder: Path) -> Notes:
    """Return the notes of a run folder; empty ones if the file is missing or damaged."""
    try:
        return Notes.of(read_json(f"{folder}/{NAME}"))
    except (OSError, ValueError, RecursionError):
        return Notes()


def write_notes(folder: Path, notes: Notes) -> None:
    """Write notes into a run folder.

    Raises:
        RunError: if the file cannot be written.
    """
    try:
        with replacing(folder / NAME, alone=False) as temporary:
            temporary.write_text(json.dumps(notes.entry(), indent=2, sort_keys=True), encoding="utf-8")
    except OSError as error:
        raise RunError(f"{folder / NAME}: cannot be written: {error.strerror}.") from error
