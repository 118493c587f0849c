"""Select, sort and rank rows of runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from nablafx_core.names import told_apart
from nablafx_core.runs.rows import Row
from nablafx_core.runs.where.columns import check_name, names_component, value_of
from nablafx_core.runs.where.parsing import parse


def select(rows: Sequence[Row], where: str | None) -> list[Row]:
    """Return the rows that fulfil a condition, in the same order.

    Args:
        rows: rows of all runs.
        where: condition such as ``"model.name=tcn and metrics.esr<0.02"``, see `nablafx_core.runs.where`; None for all.

    Raises:
        RunError: if the condition cannot be parsed, or uses a name that no run has.
    """
    if where is None:
        return list(rows)
    condition = parse(where)
    for name in condition.names():
        check_name(rows, name, "--where")
    return [row for row in rows if condition.holds(row)]


def ordered(rows: Sequence[Row], key: str) -> list[Row]:
    """Return the rows sorted by a value, the smallest first.

    Numbers come before times, and times before texts. Rows with equal values keep their order. Rows without the value,
    and those where it is NaN, come last.

    Args:
        rows: rows to sort.
        key: name of the value, see `value_of`; with "-" before it, the largest value comes first.

    Raises:
        RunError: if the name is unknown, see `check_name`.
    """
    name, falling = key.removeprefix("-"), key.startswith("-")
    check_name(rows, name, "--sort")
    valued = [(_rank(value_of(row, name)), row) for row in rows]
    known = [(rank, row) for rank, row in valued if rank is not None]
    known.sort(key=lambda pair: pair[0], reverse=falling)
    return [row for _, row in known] + [row for rank, row in valued if rank is None]


def ranked(rows: Sequence[Row], by: str, per: str | None) -> dict[str, list[Row]]:
    """Return the runs of ``train`` by group, in each the best first: the one with the smallest figure.

    Runs of other commands, such as tests, are left out, because their figures are those of models from other runs.

    Args:
        rows: rows of all runs.
        by: name of a figure; with "-" before it, the largest is the best. Runs where the figure is missing, NaN or
            infinite are left out.
        per: name whose value is equal in each group; None for one group.

    Returns:
        The rows of each group. The keys are the values of `per` as texts, in alphabetical order; "" for runs without
        that value, and for all runs if `per` is None.

    Raises:
        RunError: if a name is unknown, see `check_name`.
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
    """Return true if a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _rank(value: Any) -> tuple[int, Any] | None:
    """Return a sort key that puts numbers before times before texts; None for a missing value or NaN."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, int | float):
        return 0, value
    return (1, value.isoformat()) if hasattr(value, "isoformat") else (2, _text(value))


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
