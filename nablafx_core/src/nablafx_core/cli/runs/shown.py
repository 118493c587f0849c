"""Format figures, times, sizes and text of users."""

from __future__ import annotations

import math
from datetime import datetime, timezone
from typing import Any

from nablafx_core.runs.rows import FACTS, Row

_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))  # seconds
_SIZES = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))  # bytes


def figure(value: Any) -> str:
    """Format a number with four digits; return an empty string for anything else."""
    return f"{value:.4g}" if isinstance(value, int | float) else ""


def finite(value: Any) -> float | None:
    """Return a number that JSON supports; None for NaN, infinity and anything else."""
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def span(seconds: float) -> str:
    """Format a duration in its largest unit."""
    name, length = next((unit for unit in _UNITS if seconds >= unit[1]), _UNITS[-1])
    return f"{max(0.0, seconds) // length:.0f} {name}"


def age(start: datetime | None) -> str:
    """Format the time since `start`, such as ``3 h ago``."""
    return f"{span((datetime.now(timezone.utc) - start).total_seconds())} ago" if start else ""


def size(num_bytes: float) -> str:
    """Format a number of bytes in its largest unit."""
    name, unit = next((one for one in _SIZES if num_bytes >= one[1]), ("bytes", 1))
    return f"{num_bytes / unit:.3g} {name}" if unit > 1 else f"{num_bytes:.0f} {name}"


def number_of_runs(count: int) -> str:
    """Format a number of runs, such as ``1 run`` and ``2 runs``."""
    return f"{count:,} run{'' if count == 1 else 's'}"


def safe(text: str) -> str:
    """Replace characters that could control a terminal in a text from a record."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def first_line(text: str | None, longest: int = 100) -> str:
    """Return the first line of a text, cut to `longest` characters."""
    line = safe((text or "").strip().split("\n")[0])
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def dataset(row: Row) -> str:
    """Return the dataset of a run, with its device."""
    return "/".join(part for part in (row.data, row.device) if part)


def facts(row: Row) -> dict[str, Any]:
    """Return the fields of a row for programs; NaN and infinity are null, because JSON has neither."""
    found = {name: getattr(row, name) for name in FACTS if name != "began"}
    return {
        **found,
        "start": row.start.isoformat() if row.start else None,
        "duration": finite(row.duration),
        "tags": list(row.tags),
        "summary": {name: finite(value) for name, value in row.summary.items()},
    }
