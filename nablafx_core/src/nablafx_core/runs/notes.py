"""Tags and the note of a run: what people add to it afterwards, in `notes.json` of its folder."""

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
    """What people have said about a run.

    Attributes:
        tags: sorted, each once.
        note: of any length.
        edited: when it was changed last, ISO 8601, UTC; None if it never was.
    """

    tags: tuple[str, ...] = ()
    note: str = ""
    edited: str | None = None

    @classmethod
    def of(cls, found: Any) -> Notes:
        """Those of the keys `tags`, `note` and `edited`; what is of another kind counts as missing."""
        if not isinstance(found, dict):
            return cls()
        tags, note, edited = found.get("tags"), found.get("note"), found.get("edited")
        return cls(
            tuple(sorted({tag for tag in tags if isinstance(tag, str)})) if isinstance(tags, list) else (),
            note if isinstance(note, str) else "",
            edited if isinstance(edited, str) else None,
        )

    def tagged(self, add: Collection[str] = (), remove: Collection[str] = ()) -> Notes:
        """With tags added and removed.

        Raises:
            RunError: for a tag that has a space or a comma in it, is empty or longer than 100 characters.
        """
        for tag in add:
            if not _TAG.fullmatch(tag):
                raise RunError(f"'{tag[:100]}' cannot be a tag: a tag has 1 to 100 characters, no space and no comma.")
        return self._edited(tags=tuple(sorted({*self.tags, *add} - set(remove))))

    def noted(self, text: str, append: bool = False) -> Notes:
        """With another note, or with a line more."""
        return self._edited(note=f"{self.note}\n{text}".strip("\n") if append else text)

    def entry(self) -> dict[str, Any]:
        """As `notes.json` has them."""
        return {"tags": list(self.tags), "note": self.note, "edited": self.edited}

    def _edited(self, **changes: Any) -> Notes:
        """Changed now; later than before, whatever the clock says, so that the newer one is known."""
        changed = replace(self, **changes)
        if changed == self:
            return self
        now = datetime.now(timezone.utc).replace(tzinfo=None)
        if self.edited is not None:
            with suppress(ValueError):
                now = max(now, as_time(self.edited).replace(tzinfo=None) + timedelta(microseconds=1))
        return replace(changed, edited=now.isoformat(timespec="microseconds"))


def read_notes(folder: Path) -> Notes:
    """Those of a run folder; none if there is no file or it is damaged."""
    try:
        return Notes.of(read_json(f"{folder}/{NAME}"))
    except (OSError, ValueError, RecursionError):
        return Notes()


def write_notes(folder: Path, notes: Notes) -> None:
    """Write them into a run folder.

    Raises:
        RunError: if it cannot be written.
    """
    try:
        with replacing(folder / NAME, alone=False) as temporary:
            temporary.write_text(json.dumps(notes.entry(), indent=2, sort_keys=True), encoding="utf-8")
    except OSError as error:
        raise RunError(f"{folder / NAME}: cannot be written: {error.strerror}.") from error
