"""``nablafx runs note``: write a note about a run."""

from __future__ import annotations

import click

from nablafx_core.cli.runs.place import opened_book, outer_option, place_options
from nablafx_core.commands import answer, as_json


@click.command()
@click.argument("run", metavar="ID")
@click.argument("text")
@click.option("--append", is_flag=True, help="Add a line to the existing note.")
@place_options
@as_json
def note(
    run: str, text: str, append: bool, runs_dir: str | None, remote: bool, mongo: str | None, as_json: bool
) -> None:
    """Write the note of a run; an empty TEXT removes it."""
    with opened_book(runs_dir, remote, mongo) as book:
        run_id = book.id_of(run)
        notes = book.edit(run_id, lambda notes: notes.noted(text, append))
    if as_json or outer_option("as_json"):
        answer({"id": run_id, "note": notes.note})
    else:
        click.echo(f"{run_id}  noted")
