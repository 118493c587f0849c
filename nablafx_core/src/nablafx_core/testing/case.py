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

#: Values that the framework passes to components of several kinds; the example must contain all other required ones.
_GIVEN: dict[str, Any] = {"sample_rate": 48000, "controls": []}


class Case:
    """Component that is checked, with a folder for the files of the laws.

    Args:
        entry: entry of the component in the registry.
        folder: existing, empty folder. Laws write into it; it is the working directory while they run, so that a
            relative path in an example leads into it.
    """

    def __init__(self, entry: Entry, folder: Path) -> None:
        self.entry = entry
        self.folder = folder
        self._made: dict[Callable[[Case], Any], Any] = {}

    @property
    def name(self) -> str:
        """Name of the component with its pack, such as ``nablafx-acme/ladder``."""
        return self.entry.qualified_name

    @cached_property
    def built(self) -> Any:
        """Component built from its example at the first access; raises what `build` raises."""
        return self.build()

    def build(self) -> Any:
        """Build the component from its example.

        Raises:
            NotChecked: if the example has no value for a setting without a default.
            NablafxError: if the component's code cannot be imported, or it rejects the example.
        """
        return build_example(self.entry, self.entry.component.example)

    def once(self, make: Callable[[Case], T]) -> T:
        """Return `make(self)`, computed at the first call with this function, so that several laws can share it."""
        if make not in self._made:
            self._made[make] = make(self)
        made: T = self._made[make]
        return made


def build_example(entry: Entry, example: Mapping[str, Any]) -> Any:
    """Build a component from an example; if its kind receives them, pass a sample rate of 48 kHz and no knobs.

    Args:
        entry: entry of the component in the registry.
        example: settings; they take precedence over the sample rate and the knobs.

    Raises:
        NotChecked: if the example has no value for another setting without a default.
        NablafxError: if the component's code cannot be imported, or it rejects the example.
    """
    given = {one.name: _GIVEN[one.name] for one in entry.kind.given if one.name in _GIVEN and one.name not in example}
    needed = [name for name, setting in settings_of(entry.load()).items() if setting.default is REQUIRED]
    missing = [name for name in needed if name not in example and name not in given]
    if missing:
        told = ", ".join(f"{name!r}: …" for name in [*example, *missing])
        raise NotChecked(
            f"the example of the Component has no {' and no '.join(missing)}, which the constructor requires. "
            f"Write Component(…, example={{{told}}})."
        )
    return build(entry.kind.name, {"name": entry.qualified_name, **example}, **given)


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Make a folder the working directory inside the ``with``; relative entries of `sys.path` keep their meaning."""
    before, path = os.getcwd(), list(sys.path)
    sys.path[:] = [os.path.abspath(entry) for entry in path]  # relative entries must keep their meaning
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
        sys.path[:] = path
