"""Add packs to the names of components in sections, so that the names mean the same on every machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from nablafx_core.marks import Mark, Section
from nablafx_core.registry import Entry
from nablafx_core.registry.building import component_class
from nablafx_core.registry.kinds import KINDS, kind_named
from nablafx_core.registry.packs import Pack
from nablafx_core.registry.settings import Setting, beside, settings_of, structures, with_marked


class Names(Protocol):
    """Finder of components by name, such as a `Registry` or a `Provenance`."""

    def find(self, kind: str, name: str) -> Entry:
        """Return the component of that name; see `Registry.find`."""


def qualified(kind: str, section: Any, names: Names) -> Any:
    """Return a section with ``pack/name`` in place of every component's name in it, at any depth.

    Import paths and all other values stay as they are.

    Args:
        kind: kind of the section; ``"mix"`` for the section of a mix, which names no component itself.
        section: mapping, name, or an object that is already built, which is returned unchanged.
        names: finder of the components.

    Raises:
        RegistryError: if a component is unknown, is in several packs, or cannot be imported.
    """
    if isinstance(section, str) and kind in KINDS:
        return names.find(kind, section).qualified_name
    if not isinstance(section, Mapping):
        return section
    if isinstance(section.get("name"), str) and kind in KINDS:
        entry = names.find(kind, section["name"])
        known = {**settings_of(component_class(entry)), **{one.name: one for one in beside(kind)}}
        return qualified_settings(known, {**section, "name": entry.qualified_name}, names)
    structure = next((settings for key, settings in structures(kind).items() if key in section), None)
    return qualified_settings({one.name: one for one in structure or beside(kind)}, section, names)


def qualified_value(setting: Setting, value: Any, names: Names) -> Any:
    """Return a setting's value with ``pack/name`` in place of every name in it; see `qualified`."""

    def change(mark: Mark, value: Any, path: tuple[str | int, ...]) -> Any:
        if isinstance(mark, Section):
            return qualified(mark.kind, value, names)
        return names.find(mark.kind, value).qualified_name if isinstance(value, str) else value

    return with_marked(setting.annotation, value, (), change)


class Noted:
    """Finder of components that records all successful look-ups.

    Args:
        names: finder that is asked.

    Attributes:
        found: for each look-up, in order, the name that was asked for and the component that was found.
    """

    def __init__(self, names: Names) -> None:
        self.found: list[tuple[str, Entry]] = []
        self._names = names

    def find(self, kind: str, name: str) -> Entry:
        """See `Registry.find`."""
        entry = self._names.find(kind, name)
        self.found.append((name, entry))
        return entry


@dataclass(frozen=True)
class OwnFirst:
    """Finder of components named by a pack's code: a name without a pack means the pack's own component, if it exists.

    Args:
        pack: pack whose code names components; None for code outside packs.
        names: finder of all other components.
    """

    pack: Pack | None
    names: Names

    def find(self, kind: str, name: str) -> Entry:
        """See `Registry.find`."""
        which = kind_named(kind)
        own = self.pack.components(which).get(name) if self.pack else None
        return Entry(which, own, self.pack) if own else self.names.find(kind, name)


def qualified_settings(known: Mapping[str, Setting], section: Mapping[str, Any], names: Names) -> dict[str, Any]:
    """Return a section with ``pack/name`` in place of the names in its known settings; see `qualified`."""
    return {key: qualified_value(known[key], value, names) if key in known else value for key, value in section.items()}
