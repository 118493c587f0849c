"""Describe a kind of component for ``nablafx show``."""

from __future__ import annotations

from typing import Any

from nablafx_core.cli.list_components import described_entry, entries_table, named_entries
from nablafx_core.cli.show_settings import described_settings, settings_table
from nablafx_core.registry.kinds import KINDS, Kind, kind_named
from nablafx_core.registry.settings import beside


def kind_names() -> list[str]:
    """Return the names of the kinds, in the singular and the plural."""
    return [name for kind in KINDS.values() for name in (kind.name, kind.plural)]


def described_kind(name: str) -> dict[str, Any]:
    """Describe a kind and its installed components as plain data."""
    kind = kind_named(name)
    return {
        "kind": kind.name,
        "plural": kind.plural,
        "summary": kind.summary,
        "interface": kind.interface.replace(":", ".") or None,
        "hook": kind.hook,
        "given": {one.name: one.what for one in kind.given},
        "settings": described_settings(beside(kind.name)),
        "components": [described_entry(*named) for named in named_entries([kind])],
    }


def kind_text(described: dict[str, Any]) -> str:
    """Format the result of `described_kind` for people."""
    kind = KINDS[described["kind"]]
    parts = [f"kind {kind.name}: {kind.summary}", _made_of(kind)]
    if described["given"]:
        rows = "\n".join(f"  {name}: {what}" for name, what in described["given"].items())
        parts.append(f"Arguments that the framework passes to those that accept them\n{rows}")
    if described["settings"]:
        parts.append(f"Settings beside those of the {kind.name}\n{settings_table(described['settings'])}")
    parts += [entries_table(kind, named_entries([kind])), _more(kind)]
    return "\n\n".join(parts)


def _made_of(kind: Kind) -> str:
    """Return how a pack provides components of a kind."""
    relation = "objects of" if kind.instances else "classes derived from"
    made_of = "files in the pack" if kind.content else f"{relation} {kind.interface.replace(':', '.')}"
    new = f" `nablafx packs new NAME --kind {kind.name}` writes an example." if kind.template or kind.needs else ""
    return f"Packs provide {kind.plural} by the hook {kind.hook}: {made_of}.{new}"


def _more(kind: Kind) -> str:
    """Return the commands that show a component of a kind, and the section of an experiment that names one."""
    from nablafx_core.config.sections import sections

    named = [name for name, one in sections().items() if one.kind == kind.name]
    return " ".join(
        [
            "`nablafx show NAME` shows one of them.",
            *(f"`nablafx show {name}` shows the section '{name}' of an experiment, which names one." for name in named),
        ]
    )
