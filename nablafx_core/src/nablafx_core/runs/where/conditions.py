"""Conditions on runs, and the check whether a run fulfils them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Protocol

from nablafx_core.names import names_match
from nablafx_core.runs.rows import Row
from nablafx_core.runs.where.columns import names_component, value_of

_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
_NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf|nan)", re.IGNORECASE)
_DATE = re.compile(r"\d{4}(-\d\d(-\d\d([T ]\d\d(:\d\d(:\d\d(\.\d+)?)?)?)?)?)?")
_WORDS = {"true": True, "false": False, "null": None}


class Condition(Protocol):
    """A condition on runs."""

    def holds(self, row: Row) -> bool:
        """Return true if a run fulfils the condition."""

    def names(self) -> Iterator[str]:
        """Yield the names that the condition uses."""


@dataclass(frozen=True)
class Value:
    """A value as the user wrote it.

    Attributes:
        text: text of the value, without quotes.
        quoted: true if it was quoted; it is then a text, even if it looks like a number.
    """

    text: str
    quoted: bool = False

    @property
    def plain(self) -> Any:
        """Value as a number, a boolean, None or a text."""
        if self.quoted:
            return self.text
        if self.text.lower() in _WORDS:
            return _WORDS[self.text.lower()]
        return float(self.text) if _NUMBER.fullmatch(self.text) else self.text

    @property
    def time(self) -> str | None:
        """First characters of an ISO 8601 time in UTC, such as ``2026-11``; None if the value is not a time.

        A time with an offset, such as ``2026-11-23T14:30+01:00``, is converted to UTC; one without is in UTC.
        """
        text = self.text.removesuffix("Z")
        if _DATE.fullmatch(text):
            return text.replace(" ", "T")
        try:
            found = datetime.fromisoformat(text)
            return found.astimezone(timezone.utc).replace(tzinfo=None).isoformat() if found.tzinfo else None
        except (ValueError, OverflowError):
            return None


@dataclass(frozen=True)
class Comparison:
    """``name sign value``.

    It is false for a run without such a value, also for ``!=``. Only ``= null`` finds these runs; ``!= null`` finds the
    others.

    Attributes:
        name: name on the left, see `value_of`.
        sign: ``=``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, or ``~``, which finds a part of a text in any case.
        value: value on the right.
    """

    name: str
    sign: str
    value: Value

    def holds(self, row: Row) -> bool:
        """Return true if a run fulfils it; of a list, such as the tags, one item must, or all items for ``!=``."""
        found = value_of(row, self.name)
        if self.value.plain is None:
            return (found is None) == (self.sign == "=") if self.sign in ("=", "!=") else False
        if isinstance(found, list | tuple):
            return (all if self.sign == "!=" else any)(self._of_one(one) for one in found if one is not None)
        return found is not None and self._of_one(found)

    def names(self) -> Iterator[str]:
        """Yield the name on the left."""
        yield self.name

    def _of_one(self, found: Any) -> bool:
        if self.sign == "~":
            return not isinstance(found, dict | list) and self.value.text.lower() in _shown(found).lower()
        if isinstance(found, datetime):
            return self._of_time(found)
        equal = _equal(found, self.value) or self._is_component(found)
        if self.sign in ("=", "!="):
            return equal == (self.sign == "=")
        other = self.value.text if isinstance(found, str) else self.value.plain
        comparable = isinstance(found, str) or (_is_number(found) and _is_number(other))
        return comparable and _ORDERS[self.sign](found, other)

    def _is_component(self, found: Any) -> bool:
        """Return true if both are names of one component, such as ``tcn`` and ``nablafx-models/tcn``."""
        return names_component(self.name) and isinstance(found, str) and names_match(found, self.value.text)

    def _of_time(self, found: datetime) -> bool:
        """Compare times up to the written part: ``= 2026-11-23`` is that whole day, ``> 2026-11`` a later month."""
        time = self.value.time
        if time is None:
            return self.sign == "!="
        mine = found.astimezone(timezone.utc).replace(tzinfo=None).isoformat(timespec="microseconds")[: len(time)]
        return (
            {"=": mine == time, "!=": mine != time}[self.sign]
            if self.sign[0] in "=!"
            else _ORDERS[self.sign](mine, time)
        )


@dataclass(frozen=True)
class Negation:
    """``not condition``."""

    inner: Condition

    def holds(self, row: Row) -> bool:
        """Return true if a run does not fulfil the inner condition."""
        return not self.inner.holds(row)

    def names(self) -> Iterator[str]:
        """Yield the names of the inner condition."""
        return self.inner.names()


@dataclass(frozen=True)
class Group:
    """Conditions joined by ``and`` (`every`) or by ``or``."""

    parts: tuple[Condition, ...]
    every: bool

    def holds(self, row: Row) -> bool:
        """Return true if a run fulfils all parts (`every`), or at least one."""
        return (all if self.every else any)(part.holds(row) for part in self.parts)

    def names(self) -> Iterator[str]:
        """Yield the names of the parts."""
        for part in self.parts:
            yield from part.names()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _equal(found: Any, value: Value) -> bool:
    if isinstance(found, str):
        return found == value.text  # also for texts that look like numbers, such as the device 808
    plain = value.plain
    if _is_number(found) and _is_number(plain):
        return bool(found == plain or (math.isnan(found) and math.isnan(plain)))
    return type(found) is type(plain) and bool(found == plain)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, datetime) else str(value)
