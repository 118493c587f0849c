"""A component that the laws check, built from its example, with a folder for its files."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from nablafx_core.registry import Entry
from nablafx_core.registry.building import build
from nablafx_core.registry.settings import REQUIRED, settings_of
from nablafx_core.testing.result import NotChecked

T = TypeVar("T")

#: Values that the framework passes to components of several kinds; the example has all others.
_GIVEN: dict[str, Any] = {"sample_rate": 48000, "controls": []}


class Case:
    """Component of a pack that is checked.

    Args:
        entry: entry of the component in the registry.
        folder: existing, empty folder; the laws write into it, and run in it, so that an example may name files.
    """

    def __init__(self, entry: Entry, folder: Path) -> None:
        self.entry = entry
        self.folder = folder
        self._made: dict[Callable[[Case], Any], Any] = {}

    @property
    def name(self) -> str:
        """Name of the component with its pack."""
        return self.entry.qualified_name

    @cached_property
    def built(self) -> Any:
        """Component built from its example, once."""
        return self.build()

    def build(self) -> Any:
        """Build the component from its example.

        Raises:
            NotChecked: if it has settings without a default, and no example.
        """
        return build_example(self.entry, self.entry.component.example)

    def once(self, make: Callable[[Case], T]) -> T:
        """Return the result of `make` for this case; compute it once, so that several laws can share it."""
        if make not in self._made:
            self._made[make] = make(self)
        made: T = self._made[make]
        return made


def build_example(entry: Entry, example: Mapping[str, Any]) -> Any:
    """Build a component from an example, with the values that the framework passes to its kind: 48 kHz, no knobs.

    Raises:
        NotChecked: if the example lacks other settings that have no default.
    """
    given = {one.name: _GIVEN[one.name] for one in entry.kind.given if one.name in _GIVEN and one.name not in example}
    needed = [name for name, setting in settings_of(entry.load()).items() if setting.default is REQUIRED]
    missing = [name for name in needed if name not in example and name not in given]
    if missing:
        told = ", ".join(f"{name!r}: …" for name in [*example, *missing])
        raise NotChecked(
            f"its Component has no example with {', '.join(missing)}. Write Component(…, example={{{told}}})."
        )
    return build(entry.kind.name, {"name": entry.qualified_name, **example}, **given)


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Make a folder the working directory inside the block."""
    before, path = os.getcwd(), list(sys.path)
    sys.path[:] = [os.path.abspath(entry) for entry in path]  # relative entries must keep their meaning
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
        sys.path[:] = path
