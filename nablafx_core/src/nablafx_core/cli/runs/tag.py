"""``nablafx runs tag``: add and remove tags, by which runs are found again."""

from __future__ import annotations

import click

from nablafx_core.cli.runs.place import opened_book, outer_option, place_options
from nablafx_core.cli.runs.shown import safe
from nablafx_core.commands import answer, as_json


@click.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--add", multiple=True, metavar="TAG", help="Tag to add; may be given several times.")
@click.option("--remove", multiple=True, metavar="TAG", help="Tag to remove; may be given several times.")
@place_options
@as_json
def tag(
    ids: tuple[str, ...],
    add: tuple[str, ...],
    remove: tuple[str, ...],
    runs_dir: str | None,
    remote: bool,
    mongo: str | None,
    as_json: bool,
) -> None:
    """Add tags to runs, or remove tags, and print the tags of each run.

    A run that is tagged "keep" is never deleted.
    """
    with opened_book(runs_dir, remote, mongo) as book:
        found = [book.id_of(key) for key in ids]
        tags = {run_id: book.edit(run_id, lambda notes: notes.tagged(add, remove)).tags for run_id in found}
    if as_json or outer_option("as_json"):
        answer({run_id: list(of_run) for run_id, of_run in tags.items()})
        return
    for run_id, of_run in tags.items():
        click.echo(f"{run_id}  {safe(' '.join(of_run)) or '(no tags)'}")
