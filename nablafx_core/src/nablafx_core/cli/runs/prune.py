"""``nablafx runs prune``: delete all runs but the best."""

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
@click.option("--keep-best", type=click.IntRange(min=0), required=True, help="Number of runs to keep in each group.")
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
    """Delete all but the best trainings of each device; the runs are shown first, and a question asks for confirmation.

    Kept are runs that are running or tagged "keep", runs without the figure, such as failed ones, and runs of other
    commands. With --keep-best 0 and --where, every run that fulfils the condition is deleted, of any command.
    """
    where = where or outer_option("where")
    if keep_best == 0 and where is None:
        raise click.UsageError(
            "--keep-best 0 deletes all runs that fulfil a condition. Add the condition with --where."
        )
    with opened_book(runs_dir, remote, mongo) as book:
        rows = select(book.rows(), where)
        ended = [row for row in rows if row.status != "RUNNING"]
        chosen = ended if keep_best == 0 else _all_but_best(ended, keep_best, by, per)
        to_delete = [row for row in chosen if KEEP not in row.tags]
        if to_delete:
            delete_rows(book, to_delete, yes)
        say(f"Kept {len(rows) - len(to_delete):,} of {number_of_runs(len(rows))} that matched.")


def _all_but_best(rows: Sequence[Row], keep_best: int, by: str, per: str) -> list[Row]:
    """Return the rows of each group except its best ones."""
    return [row for ranking in ranked(rows, by, per).values() for row in ranking[keep_best:]]
