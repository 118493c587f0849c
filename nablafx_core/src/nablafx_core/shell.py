"""Format commands that a person can copy into a shell."""

from __future__ import annotations

import shlex
from pathlib import Path


def command(*words: object, runs_dir: str | Path | None = None) -> str:
    """Format a nablafx command, with words quoted if a shell would interpret them.

    Args:
        words: words after ``nablafx``.
        runs_dir: folder of the runs, added as ``--runs-dir`` unless it is None or the default, ``runs``.
    """
    place = () if runs_dir is None or str(runs_dir) == "runs" else ("--runs-dir", str(runs_dir))
    return shlex.join(["nablafx", *map(str, words), *place])
