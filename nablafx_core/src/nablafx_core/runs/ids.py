"""Names of runs: unique across machines, short enough to say."""

from __future__ import annotations

import re
import secrets
from datetime import datetime, timezone
from pathlib import Path

from nablafx_core.errors import RunError
from nablafx_core.runs.id_words import ADJECTIVES, NOUNS

_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"  # without 0, 1, i, l, o, which are misread
_ALLOWED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_OURS = re.compile(r"\d{8}-[a-z]+-[a-z]+-[a-z2-9]{4}")


def new_id() -> str:
    """A fresh id such as ``20261123-amber-fjord-7k3q``: date (UTC), two words, four random characters.

    It comes from the system's randomness: runs are seeded alike, so that `random` would repeat itself.
    """
    date = datetime.now(timezone.utc).strftime("%Y%m%d")
    tail = "".join(secrets.choice(_ALPHABET) for _ in range(4))
    return f"{date}-{secrets.choice(ADJECTIVES.split())}-{secrets.choice(NOUNS.split())}-{tail}"


def is_run_id(name: str) -> bool:
    """Whether a folder of this name was made by `new_folder` without a wished id."""
    return _OURS.fullmatch(name) is not None


def check_id(run_id: str) -> None:
    """Make sure that an id can name a folder on every system.

    Raises:
        RunError: if it cannot.
    """
    if not _ALLOWED.fullmatch(run_id):
        raise RunError(f"'{run_id}' cannot name a run: use letters, digits, '-', '_' and '.'.")


def new_folder(runs_dir: Path, run_id: str | None = None) -> Path:
    """Make the folder of a new run, exclusively.

    Args:
        runs_dir: made if missing.
        run_id: the wished id; a fresh one if None.

    Raises:
        RunError: if the id is taken or no file name, or if the folder cannot be made.
    """
    if run_id is not None:
        check_id(run_id)
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
        while True:
            folder = runs_dir / (run_id or new_id())
            try:
                folder.mkdir()
                return folder
            except FileExistsError:
                if run_id is not None:
                    raise RunError(f"the run {folder} exists. Resume it, or choose another id.") from None
    except OSError as error:
        raise RunError(f"{runs_dir}: a run folder cannot be made there: {error.strerror}.") from error
