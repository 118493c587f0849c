"""``nablafx packs``: what is installed."""

from __future__ import annotations

import click

from nablafx_core.cli.options import answer, as_json, table
from nablafx_core.kinds import KINDS
from nablafx_core.packs import Pack
from nablafx_core.registry import Registry


@click.command()
@as_json
def packs(as_json: bool) -> None:
    """List installed packs, what they provide, and what is wrong with them.

    NABLAFX_PACKS=a,b limits which packs are loaded; empty loads none but core.
    """
    registry = Registry.discover()
    registry.collect_all()
    if as_json:
        answer([_described(pack) for pack in registry.packs])
        return
    rows = [(pack.name, pack.version, _contents(pack)) for pack in registry.packs]
    click.echo(table(rows, ("PACK", "VERSION", "PROVIDES")))
    for pack in registry.packs:
        for problem in pack.problems:
            click.echo(f"broken  {pack.name}: {problem}")
        for warning in pack.warnings:
            click.echo(f"warning {pack.name}: {warning}")


def _counts(pack: Pack) -> dict[str, int]:
    counts = {kind.plural: len(pack.components(kind)) for kind in KINDS.values()}
    return {plural: count for plural, count in counts.items() if count}


def _contents(pack: Pack) -> str:
    kinds = {kind.plural: kind.name for kind in KINDS.values()}
    counts = _counts(pack).items()
    return ", ".join(f"{count} {plural if count > 1 else kinds[plural]}" for plural, count in counts) or "nothing"


def _described(pack: Pack) -> dict[str, object]:
    provides = {kind.plural: sorted(pack.components(kind)) for kind in KINDS.values() if pack.components(kind)}
    return {
        "name": pack.name,
        "version": pack.version,
        "provides": provides,
        "problems": pack.problems,
        "warnings": pack.warnings,
    }
