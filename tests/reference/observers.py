"""Observers with settings, for tests of sections."""

from __future__ import annotations

from sacred.observers import RunObserver


class Sized(RunObserver):
    """Observer with a number as its setting."""

    def __init__(self, size: int) -> None:
        self.size = size


class Any(RunObserver):
    """Observer that accepts any settings."""

    def __init__(self, url=None, deep=None) -> None:
        self.url, self.deep = url, deep
