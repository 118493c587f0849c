"""``nablafx list``: list the components of a kind."""

from __future__ import annotations

from collections import Counter

import click

from nablafx_core.commands import answer, as_json, table
from nablafx_core.registry import Registry
from nablafx_core.registry.kinds import KINDS, kind_named


@click.command("list")
@click.argument("kind", required=False)
@as_json
def list_components(kind: str | None, as_json: bool) -> None:
    """List the components of KIND: models, processors, controllers, datasets, presets, …

    Without KIND, list all installed components.
    """
    kinds = [kind_named(kind)] if kind else list(KINDS.values())
    registry = Registry.discover()
    entries = [entry for which in kinds for entry in registry.entries(which.name)]
    names = Counter((entry.kind.name, entry.component.name) for entry in entries)
    shown = [
        entry.component.name if names[entry.kind.name, entry.component.name] == 1 else entry.qualified_name
        for entry in entries
    ]
    if as_json:
        keys = ("kind", "name", "pack", "target", "summary", "experimental")
        rows = [
            (
                e.kind.name,
                name,
                e.pack.name if e.pack else None,
                e.component.target,
                e.component.summary,
                e.component.experimental,
            )
            for e, name in zip(entries, shown, strict=True)
        ]
        answer([dict(zip(keys, row, strict=True)) for row in rows])
        return
    for which in kinds:
        rows_of = [
            (name, entry.pack.name if entry.pack else "", entry.component.described)
            for entry, name in zip(entries, shown, strict=True)
            if entry.kind is which
        ]
        if rows_of or kind:
            click.echo(table(rows_of, (which.plural.upper(), "PACK", "SUMMARY")) if rows_of else f"No {which.plural}.")
            click.echo()
