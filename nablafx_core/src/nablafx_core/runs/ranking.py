"""Selecting, sorting and ranking rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from nablafx_core.names import told_apart
from nablafx_core.runs.rows import Row
from nablafx_core.runs.where.columns import check_name, names_component, value_of
from nablafx_core.runs.where.parsing import parse


def select(rows: Sequence[Row], where: str | None) -> list[Row]:
    """The rows that fulfil a condition, in their order; all if there is none.

    Raises:
        RunError: if the condition cannot be read, or uses a name that no run has.
    """
    if where is None:
        return list(rows)
    condition = parse(where)
    for name in condition.names():
        check_name(rows, name, "--where")
    return [row for row in rows if condition.holds(row)]


def ordered(rows: Sequence[Row], key: str) -> list[Row]:
    """The rows by a value, the smallest first; with "-" before the name, the largest first.

    Equal ones keep their order. Runs without the value, and those where it is not a number, are last.

    Raises:
        RunError: if no run has the value.
    """
    name, falling = key.removeprefix("-"), key.startswith("-")
    check_name(rows, name, "--sort")
    valued = [(_rank(value_of(row, name)), row) for row in rows]
    known = [(rank, row) for rank, row in valued if rank is not None]
    known.sort(key=lambda pair: pair[0], reverse=falling)
    return [row for _, row in known] + [row for rank, row in valued if rank is None]


def ranked(rows: Sequence[Row], by: str, per: str | None) -> dict[str, list[Row]]:
    """The trainings of each group, the best first, which is the one with the smallest figure.

    Runs of other commands, such as tests, have figures of models that they did not make, and are left out.

    Args:
        rows: of all runs.
        by: the name of a figure; with "-" before it the largest is the best. Runs without it are left out, as are
            those where it is not finite.
        per: the name of what the groups have in common; None for one group.

    Returns:
        The rows by the value of `per`, sorted by it; "" for runs without one.

    Raises:
        RunError: if no run has the figure or the value.
    """
    name = by.removeprefix("-")
    check_name(rows, name, "--by")
    if per is not None:
        check_name(rows, per, "--per")
    found = ordered([row for row in rows if row.command == "train" and is_figure(value_of(row, name))], by)
    values = [None if per is None else value_of(row, per) for row in found]
    texts = ["" if value is None else _text(value) for value in values]
    if per is not None and names_component(per):
        shown = told_apart(texts)
        texts = [shown[text] for text in texts]
    groups: dict[str, list[Row]] = {}
    for text, row in zip(texts, found, strict=True):
        groups.setdefault(text, []).append(row)
    return dict(sorted(groups.items()))


def is_figure(value: Any) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _rank(value: Any) -> tuple[int, Any] | None:
    """Numbers before texts, which cannot be compared with them; None for what has no place."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, int | float):
        return 0, value
    return (1, value.isoformat()) if hasattr(value, "isoformat") else (2, _text(value))


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
