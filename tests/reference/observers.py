"""Observers with settings, for tests of sections."""

from __future__ import annotations

from sacred.observers import RunObserver


class Sized(RunObserver):
    """Takes a number."""

    def __init__(self, size: int) -> None:
        self.size = size


class Any(RunObserver):
    """Takes what it is given."""

    def __init__(self, url=None, deep=None) -> None:
        self.url, self.deep = url, deep
