"""What a condition means: whether a run fulfils it."""

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
        """Whether a run fulfils it."""

    def names(self) -> Iterator[str]:
        """The names that it uses."""


@dataclass(frozen=True)
class Value:
    """A value as it was written.

    Attributes:
        text: without quotes.
        quoted: a text, whatever it looks like.
    """

    text: str
    quoted: bool = False

    @property
    def plain(self) -> Any:
        """A number, a boolean, None or a text."""
        if self.quoted:
            return self.text
        if self.text.lower() in _WORDS:
            return _WORDS[self.text.lower()]
        return float(self.text) if _NUMBER.fullmatch(self.text) else self.text

    @property
    def time(self) -> str | None:
        """A beginning of an ISO time in UTC, such as ``2026-11``; None if it is no time."""
        text = self.text.removesuffix("Z")
        if _DATE.fullmatch(text):
            return text.replace(" ", "T")
        try:
            return datetime.fromisoformat(text).astimezone(timezone.utc).replace(tzinfo=None).isoformat()
        except ValueError:
            return None


@dataclass(frozen=True)
class Comparison:
    """``name sign value``. What a run does not have compares false; only ``= null`` finds that it is missing."""

    name: str
    sign: str
    value: Value

    def holds(self, row: Row) -> bool:
        """Of a list, such as the tags: whether one of its values fulfils it, or, for ``!=``, whether all do."""
        found = value_of(row, self.name)
        if self.value.plain is None:
            return (found is None) == (self.sign == "=") if self.sign in ("=", "!=") else False
        if isinstance(found, list | tuple):
            return (all if self.sign == "!=" else any)(self._of_one(one) for one in found if one is not None)
        return found is not None and self._of_one(found)

    def names(self) -> Iterator[str]:
        """Its name."""
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
        """Return whether two names mean the same component, one with its pack: ``tcn`` and ``nablafx-models/tcn``."""
        return names_component(self.name) and isinstance(found, str) and names_match(found, self.value.text)

    def _of_time(self, found: datetime) -> bool:
        """A date stands for the whole day, as ``2026-11`` stands for the month."""
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
        """Whether it does not hold."""
        return not self.inner.holds(row)

    def names(self) -> Iterator[str]:
        """Those inside."""
        return self.inner.names()


@dataclass(frozen=True)
class Group:
    """Conditions joined by ``and`` (`every`) or by ``or``."""

    parts: tuple[Condition, ...]
    every: bool

    def holds(self, row: Row) -> bool:
        """Whether all, or one of them, hold."""
        return (all if self.every else any)(part.holds(row) for part in self.parts)

    def names(self) -> Iterator[str]:
        """Those of the parts."""
        for part in self.parts:
            yield from part.names()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _equal(found: Any, value: Value) -> bool:
    if isinstance(found, str):
        return found == value.text  # also 808, which is a device
    plain = value.plain
    if _is_number(found) and _is_number(plain):
        return bool(found == plain or (math.isnan(found) and math.isnan(plain)))
    return type(found) is type(plain) and bool(found == plain)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, datetime) else str(value)
