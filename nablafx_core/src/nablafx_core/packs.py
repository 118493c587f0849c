"""Packs: installed distributions that name a module under the entry-point group ``nablafx``."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import time
from collections.abc import Iterable
from contextlib import redirect_stdout, suppress
from importlib.metadata import EntryPoint, entry_points

import pluggy

from nablafx_core import hookspecs
from nablafx_core.component import Component
from nablafx_core.kinds import KINDS, Kind

GROUP = "nablafx"
CORE = "nablafx-core"
#: An import that takes longer makes every command slow, and is told.
SLOW_SECONDS = 0.5


def canonical(name: str) -> str:
    """A distribution's name as packaging tools compare it: lower case, runs of ``-_.`` as one dash."""
    return "-".join(part for part in name.lower().replace("_", "-").replace(".", "-").split("-") if part)


class Pack:
    """One distribution and what it provides. Failures are kept as text and never raised.

    Attributes:
        name: the distribution's canonical name; how a pack is known.
        version: of the distribution.
        problems: what makes the pack, or a part of it, unusable.
        warnings: what a pack author should mend and a user may ignore.
    """

    def __init__(self, name: str, version: str) -> None:
        self.name = canonical(name)
        self.version = version
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self._hooks = pluggy.PluginManager(GROUP)
        self._hooks.add_hookspecs(hookspecs)
        self._components: dict[str, dict[str, Component]] = {}

    def is_called(self, name: str) -> bool:
        """Whether `name` means this pack: its name, with or without the prefix ``nablafx-``."""
        return canonical(name) in (self.name, self.name.removeprefix("nablafx-"))

    def add(self, entry_point: EntryPoint) -> None:
        """Import one entry point's module and register its hooks."""
        began = time.perf_counter()
        try:
            with redirect_stdout(sys.stderr):  # what a pack prints must not stand in an answer
                module = entry_point.load()
        except (Exception, SystemExit) as error:
            self.problems.append(f"cannot import {entry_point.value}: {_cause(error)}")
            return
        if (seconds := time.perf_counter() - began) > SLOW_SECONDS:
            self.warnings.append(f"takes {seconds:.1f} s to import: plugin.py should import nothing heavy")
        self.register(module)

    def register(self, module: object) -> None:
        """Register the hooks of a module (or any object)."""
        if self._hooks.is_registered(module):
            return
        try:
            self._hooks.register(module)
        except Exception as error:
            if self._hooks.is_registered(module):
                self._hooks.unregister(module)
            self.problems.append(f"its hooks do not fit: {' '.join(str(error).split())}")
            return
        known = [caller.name for caller in self._hooks.get_hookcallers(module) or [] if not caller.has_spec()]
        for name in known:
            self.warnings.append(f"this core has no hook '{name}'{_suggestion(name)}")
        for name in vars(module):
            if name.startswith("nablafx_") and callable(getattr(module, name)) and not self._is_hook(module, name):
                self.warnings.append(f"'{name}' lacks @hookimpl and is not called")

    def _is_hook(self, module: object, name: str) -> bool:
        return any(caller.name == name for caller in self._hooks.get_hookcallers(module) or [])

    def components(self, kind: Kind) -> dict[str, Component]:
        """What the pack provides of one kind, by name."""
        if kind.name not in self._components:
            self._components[kind.name] = self._collect(kind)
        return self._components[kind.name]

    def _collect(self, kind: Kind) -> dict[str, Component]:
        found: dict[str, Component] = {}
        try:
            items: list[object] = [item for answer in getattr(self._hooks.hook, kind.hook)() for item in answer]
        except (Exception, SystemExit) as error:
            self.problems.append(f"{kind.hook}() failed: {_cause(error)}")
            return found
        for item in items:
            if not isinstance(item, Component):
                self.problems.append(f"{kind.hook}() returned {type(item).__name__}, not Component: {item!r:.60}")
            elif not isinstance(item.name, str) or not item.name or set(item.name) & set("/:"):
                self.problems.append(f"{kind.hook}() gives the name {item.name!r}; a name is text without '/' and ':'")
            elif item.name in found:
                self.problems.append(f"{kind.hook}() names '{item.name}' twice; the first one is used")
            else:
                found[item.name] = item
        return found

    def call(self, hook: str, **arguments: object) -> list[object]:
        """Call a behaviour hook; a failure is kept as a problem and gives nothing."""
        try:
            return [item for answer in getattr(self._hooks.hook, hook)(**arguments) for item in answer]
        except Exception as error:
            self.problems.append(f"{hook}() failed: {_cause(error)}")
            return []


def discover_packs(points: Iterable[EntryPoint] | None = None) -> list[Pack]:
    """The installed packs, core first, then by name; limited by the variable ``NABLAFX_PACKS``.

    Unset, every pack is loaded; ``NABLAFX_PACKS=a,b`` loads those two, and an empty value none.
    Core itself is always there.
    """
    wanted = os.environ.get("NABLAFX_PACKS")
    names = None if wanted is None else [name.strip() for name in wanted.split(",") if name.strip()]
    packs: dict[str, Pack] = {}
    for point in entry_points(group=GROUP) if points is None else points:
        name, version = _distribution(point)
        pack = packs.get(canonical(name)) or Pack(name, version)
        if pack.name == CORE or names is None or any(pack.is_called(name) for name in names):
            packs[pack.name] = pack
            pack.add(point)
    return sorted(packs.values(), key=lambda pack: (pack.name != CORE, pack.name))


def _distribution(point: EntryPoint) -> tuple[str, str]:
    with suppress(Exception):  # metadata that is damaged or gone; each Python raises something else
        if point.dist and point.dist.name:
            return point.dist.name, point.dist.version
    return point.module.split(".")[0], "?"


def _suggestion(name: str) -> str:
    plurals = [kind.plural for kind in KINDS.values()] + ["callbacks"]
    close = difflib.get_close_matches(name.removeprefix("nablafx_"), plurals, n=1)
    return f"; did you mean 'nablafx_{close[0]}'?" if close else "; it may be for a newer nablafx-core"


def _cause(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def import_target(target: str) -> object:
    """Import ``"package.module:attribute"``.

    Raises:
        ValueError: if the text is not of that form.
        ImportError, AttributeError: as importing does.
    """
    module, colon, attribute = target.partition(":")
    if not (module and colon and attribute):
        raise ValueError(f"'{target}' is not of the form package.module:attribute")
    found: object = importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found
