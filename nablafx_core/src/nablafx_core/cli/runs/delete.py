"""``nablafx runs delete``: delete runs permanently."""

from __future__ import annotations

from collections.abc import Sequence

import click

from nablafx_core.cli.runs.place import opened_book, place_options, yes_option
from nablafx_core.cli.runs.shown import dataset, figure, number_of_runs, safe, size
from nablafx_core.commands import say, table
from nablafx_core.config.defaults import MAIN_FIGURE, MAIN_METRIC
from nablafx_core.errors import RunError
from nablafx_core.runs.book import Book
from nablafx_core.runs.rows import Row
from nablafx_core.runs.where import value_of

KEEP = "keep"
"""Tag of runs that are never deleted."""


@click.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@yes_option
@place_options
def delete(ids: tuple[str, ...], yes: bool, runs_dir: str | None, remote: bool, mongo: str | None) -> None:
    """Delete runs; the runs are shown first, and a question asks for confirmation.

    A run that is running or tagged "keep" is not deleted.
    """
    with opened_book(runs_dir, remote, mongo) as book:
        chosen = {book.id_of(key) for key in ids}
        rows = [row for row in book.rows() if row.id in chosen]
        for row in rows:
            if KEEP in row.tags:
                raise RunError(f"the run {row.id} is tagged '{KEEP}'. Remove the tag before you delete it.")
        delete_rows(book, rows, yes)


def delete_rows(book: Book, rows: Sequence[Row], yes: bool) -> None:
    """Show runs, ask for confirmation, and delete the runs.

    Raises:
        RunError: if a run must not be deleted, before anything is deleted; or if a deletion fails, at the end.
        Abort: if the user does not confirm.
    """
    for row in rows:
        book.check_deletable(row.id)
    sizes = {row.id: book.size(row.id) for row in rows}
    lines = [
        (
            row.id,
            row.status,
            row.model or "",
            dataset(row),
            figure(value_of(row, MAIN_METRIC)),
            size(sizes[row.id]),
        )
        for row in rows
    ]
    click.echo(
        table(
            [tuple(map(safe, line)) for line in lines], ("ID", "STATUS", "MODEL", "DATA", MAIN_FIGURE.upper(), "SIZE")
        )
    )
    if not yes:
        what = f"{number_of_runs(len(rows))}, {size(sum(sizes.values()))}, from {book.place}"
        click.confirm(f"Delete {what}, permanently?", abort=True, err=True)
    wrong = []
    for row in rows:
        try:
            book.delete(row.id)
        except RunError as error:
            wrong.append(str(error))
    say(f"Deleted {number_of_runs(len(rows) - len(wrong))}.")
    if wrong:
        raise RunError("not deleted:\n  " + "\n  ".join(wrong))
