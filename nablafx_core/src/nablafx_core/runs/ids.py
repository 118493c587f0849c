"""Ids of runs: unique across machines, short enough to say."""

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
    """Return a new id such as ``20261123-amber-fjord-7k3q``: date (UTC), two words, four random characters.

    It uses the system's random source, because runs with equal seeds would get equal ids from `random`.
    """
    date = datetime.now(timezone.utc).strftime("%Y%m%d")
    tail = "".join(secrets.choice(_ALPHABET) for _ in range(4))
    return f"{date}-{secrets.choice(ADJECTIVES.split())}-{secrets.choice(NOUNS.split())}-{tail}"


def is_run_id(name: str) -> bool:
    """Return true if a name has the form of the ids that `new_id` generates."""
    return _OURS.fullmatch(name) is not None


def check_id(run_id: str) -> None:
    """Check that an id has only ASCII letters, digits, "-", "_" and ".", and begins with a letter or a digit.

    Raises:
        RunError: if it does not.
    """
    if not _ALLOWED.fullmatch(run_id):
        raise RunError(
            f"'{run_id}' cannot name a run: begin with a letter or a digit, and use only A-Z, a-z, 0-9, '-', '_', '.'."
        )


def new_folder(runs_dir: Path, run_id: str | None = None) -> Path:
    """Create the folder of a new run, and return its path.

    Args:
        runs_dir: folder of the run folders; created if missing.
        run_id: requested id; a generated one if None.

    Raises:
        RunError: if `run_id` exists or is refused by `check_id`, or if the folder cannot be created.
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
        raise RunError(f"{runs_dir}: a run folder cannot be created there: {error.strerror}.") from error
