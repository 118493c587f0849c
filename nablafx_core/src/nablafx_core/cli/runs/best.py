"""``nablafx runs best``: show the best run of each device."""

from __future__ import annotations

from collections.abc import Sequence

import click

from nablafx_core.cli.runs.place import by_option, opened_book, outer_option, per_option, place_options, where_option
from nablafx_core.cli.runs.shown import age, facts, figure, first_line, safe
from nablafx_core.commands import answer, as_json, table
from nablafx_core.runs.ranking import ranked, select
from nablafx_core.runs.rows import Row
from nablafx_core.runs.where import value_of


@click.command()
@by_option
@per_option
@where_option
@place_options
@as_json
def best(
    by: str, per: str, where: str | None, runs_dir: str | None, remote: bool, mongo: str | None, as_json: bool
) -> None:
    """Show the best training of each device, or of each value of another setting."""
    with opened_book(runs_dir, remote, mongo) as book:
        rows = book.rows()
    groups = ranked(select(rows, where or outer_option("where")), by, per)
    name = by.removeprefix("-")
    if as_json or outer_option("as_json"):
        found = {group: {**facts(ranking[0]), "of": len(ranking)} for group, ranking in groups.items()}
        answer(found)
    elif groups:
        header = (_title(per), _title(name), "ID", "MODEL", "STEP", "AGE", "OF", "NOTE")
        click.echo(table([_line(group, ranking, name) for group, ranking in groups.items()], header))
    else:
        click.echo(f"No run in {book.place} has {name}.")


def _line(group: str, ranking: Sequence[Row], name: str) -> tuple[str, ...]:
    best = ranking[0]
    step = "" if best.step is None else str(best.step)
    cells = (group or "-", figure(value_of(best, name)), best.id, best.model or "", step, age(best.start))
    return (*map(safe, cells), str(len(ranking)), first_line(best.note))


def _title(name: str) -> str:
    return name.rpartition(".")[2].upper()
