"""``nablafx runs prune``: keeping the best runs."""

from __future__ import annotations

from collections.abc import Sequence

import click

from nablafx_core.cli.runs.delete import KEEP, delete_rows
from nablafx_core.cli.runs.place import (
    by_option,
    opened_book,
    outer_option,
    per_option,
    place_options,
    where_option,
    yes_option,
)
from nablafx_core.cli.runs.shown import number_of_runs
from nablafx_core.commands import say
from nablafx_core.runs.ranking import ranked, select
from nablafx_core.runs.rows import Row


@click.command()
@click.option("--keep-best", type=click.IntRange(min=0), required=True, help="So many of each group stay.")
@by_option
@per_option
@where_option
@yes_option
@place_options
def prune(
    keep_best: int,
    by: str,
    per: str,
    where: str | None,
    yes: bool,
    runs_dir: str | None,
    remote: bool,
    mongo: str | None,
) -> None:
    """Delete all but the best trainings of each device, after showing what would go and asking.

    Runs that are running or tagged "keep", and those without the figure, such as failed ones, stay, as do runs of
    other commands. With --keep-best 0 and --where, every run goes that fulfils the condition, whatever it is.
    """
    where = where or outer_option("where")
    if keep_best == 0 and where is None:
        raise click.UsageError("--keep-best 0 deletes all runs that a condition finds: give one with --where.")
    with opened_book(runs_dir, remote, mongo) as book:
        rows = select(book.rows(), where)
        ended = [row for row in rows if row.status != "RUNNING"]
        chosen = ended if keep_best == 0 else _worse(ended, keep_best, by, per)
        doomed = [row for row in chosen if KEEP not in row.tags]
        if doomed:
            delete_rows(book, doomed, yes)
        say(f"{number_of_runs(len(rows) - len(doomed))} of those that were looked at stay.")


def _worse(rows: Sequence[Row], keep_best: int, by: str, per: str) -> list[Row]:
    """The rows of each group behind its best ones."""
    return [row for ranking in ranked(rows, by, per).values() for row in ranking[keep_best:]]
