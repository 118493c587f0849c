"""Suggestions for a misspelled name, and a memory of messages that should appear only once."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import Any


def close_to(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most similar to an unknown one, or None if none is similar enough."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return the end of a message about an unknown name: `` Did you mean 'tcn'?``, or `otherwise`."""
    close = close_to(name, known)
    return f" Did you mean '{close}'?" if close else otherwise


def unknown_setting(owner: str, name: str, known: Mapping[str, Any] | Collection[str]) -> str:
    """Return the message about a key that is not a setting, with the most similar setting and all settings.

    Args:
        owner: component or section that has no such setting.
        name: unknown key.
        known: names of the settings that the owner has.
    """
    settings = ", ".join(known) or "none"
    return f"{owner} has no setting '{name}'.{did_you_mean(name, known)}\n  settings: {settings}"


class Once:
    """Memory of the messages that were given, so that a repeated operation gives each only once."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def first(self, what: str = "") -> bool:
        """Return True at the first call of this object with `what`, such as a message's topic, and False afterwards."""
        is_first = what not in self._given
        self._given.add(what)
        return is_first
