"""``nablafx list``: list the components of a kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import click

from nablafx_core.commands import answer, as_json, table
from nablafx_core.registry import Entry, Registry
from nablafx_core.registry.kinds import KINDS, Kind, kind_named


@click.command("list")
@click.argument("kind", required=False)
@as_json
def list_components(kind: str | None, as_json: bool) -> None:
    """List the components of KIND: models, processors, controllers, datasets, presets, …

    Without KIND, list all installed components.
    """
    kinds = [kind_named(kind)] if kind else list(KINDS.values())
    entries = named_entries(kinds)
    if as_json:
        answer([described_entry(name, entry) for name, entry in entries])
        return
    for which in kinds:
        found = [(name, entry) for name, entry in entries if entry.kind is which]
        if found or kind:
            click.echo(entries_table(which, found))
            click.echo()


def named_entries(kinds: Iterable[Kind]) -> list[tuple[str, Entry]]:
    """Return the installed components of some kinds by their names: ``pack/name`` if two packs have the name."""
    registry = Registry.discover()
    entries = [entry for which in kinds for entry in registry.entries(which.name)]
    count = Counter((entry.kind.name, entry.component.name) for entry in entries)
    return [
        (entry.component.name if count[entry.kind.name, entry.component.name] == 1 else entry.qualified_name, entry)
        for entry in entries
    ]


def described_entry(name: str, entry: Entry) -> dict[str, Any]:
    """Describe a component of `named_entries` as plain data."""
    return {
        "kind": entry.kind.name,
        "name": name,
        "pack": entry.pack.name if entry.pack else None,
        "target": entry.component.target,
        "summary": entry.component.summary,
        "experimental": entry.component.experimental,
    }


def entries_table(kind: Kind, entries: Iterable[tuple[str, Entry]]) -> str:
    """Format components of one kind as a table."""
    rows = [(name, entry.pack.name if entry.pack else "", entry.component.described) for name, entry in entries]
    return table(rows, (kind.plural.upper(), "PACK", "SUMMARY")) if rows else f"No {kind.plural}."
