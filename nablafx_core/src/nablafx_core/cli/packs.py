"""``nablafx packs``: list installed packs, check one, and write a new one."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from nablafx_core.commands import answer, as_json, say, table
from nablafx_core.registry import Registry
from nablafx_core.registry.kinds import KINDS
from nablafx_core.registry.packs import Pack
from nablafx_core.shell import command


@click.group(invoke_without_command=True)
@as_json
@click.pass_context
def packs(ctx: click.Context, as_json: bool) -> None:
    """List installed packs, their components and their problems.

    NABLAFX_PACKS=a,b loads only these packs and core; an empty value loads only core.
    """
    if ctx.invoked_subcommand is not None:
        return
    registry = Registry.discover()
    registry.collect_all()
    if as_json:
        answer([_described(pack) for pack in registry.packs])
        return
    rows = [(pack.name, pack.version, _contents(pack)) for pack in registry.packs]
    click.echo(table(rows, ("PACK", "VERSION", "PROVIDES")))
    told = [f"broken  {pack.name}: {problem}" for pack in registry.packs for problem in pack.problems]
    told += [f"warning {pack.name}: {warning}" for pack in registry.packs for warning in pack.warnings]
    if told:
        click.echo("\n" + "\n".join(told))


@packs.command()
@click.argument("name")
@click.option(
    "--only", multiple=True, metavar="KIND/NAME", help="Check only these components, such as model/tcn or 'exporter/*'."
)
@as_json
def check(name: str, only: tuple[str, ...], as_json: bool) -> None:
    """Check every law for every component of the pack NAME, and print the results.

    An exporter is checked with the pack's own models as their examples build them, without knobs and with default
    settings, and with every other installed model as its example builds it.

    Exits with 1 if a law is broken without a declared exception, or if a law with a declared exception holds.
    """
    from nablafx_core.cli.check_pack import checked

    if not checked(name, as_json, only):
        raise click.exceptions.Exit(1)


@packs.command()
@click.argument("name")
@click.option("--folder", type=click.Path(path_type=Path), help="Folder to create. Default: nablafx-NAME.")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    default=["model"],
    show_default=True,
    type=click.Choice([name for name, kind in KINDS.items() if kind.template or kind.needs]),
    help="Kind of a component to write; may be repeated.",
)
def new(name: str, folder: Path | None, kinds: tuple[str, ...]) -> None:
    """Write a pack NAME with a component of each KIND, which you can install, check and change."""
    from nablafx_core.cli.new_pack import write_pack

    made = write_pack(name, folder, kinds)
    click.echo(made)
    say(f"Next: {shlex.join(['pip', 'install', '-e', str(made)])} && {command('packs', 'check', name)}")


def _contents(pack: Pack) -> str:
    counts = {kind: len(pack.components(kind)) for kind in KINDS.values()}
    provided = [f"{count} {kind.plural if count > 1 else kind.name}" for kind, count in counts.items() if count]
    provided += ["callbacks"] if pack.implements("nablafx_callbacks") else []
    return ", ".join(provided) or "nothing"


def _described(pack: Pack) -> dict[str, object]:
    provides = {kind.plural: sorted(pack.components(kind)) for kind in KINDS.values() if pack.components(kind)}
    return {
        "name": pack.name,
        "version": pack.version,
        "provides": provides,
        "problems": pack.problems,
        "warnings": pack.warnings,
    }
