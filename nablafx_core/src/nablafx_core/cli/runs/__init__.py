"""``nablafx runs``: list and edit recorded runs."""

from __future__ import annotations

import click

from nablafx_core.cli.runs.best import best
from nablafx_core.cli.runs.compare import compare
from nablafx_core.cli.runs.delete import delete
from nablafx_core.cli.runs.listing import as_csv_option, list_options, list_rows
from nablafx_core.cli.runs.note import note
from nablafx_core.cli.runs.place import opened_book, place_options
from nablafx_core.cli.runs.prune import prune
from nablafx_core.cli.runs.pull import pull
from nablafx_core.cli.runs.push import push
from nablafx_core.cli.runs.show import show
from nablafx_core.cli.runs.tag import tag
from nablafx_core.commands import as_json


@click.group(invoke_without_command=True)
@list_options
@place_options
@as_json
@as_csv_option
@click.pass_context
def runs(
    context: click.Context,
    where: str | None,
    sort: str | None,
    tags: tuple[str, ...],
    limit: int | None,
    runs_dir: str | None,
    remote: bool,
    mongo: str | None,
    as_json: bool,
    as_csv: bool,
) -> None:
    """List recorded runs, the newest first; the commands below show, compare and change runs.

    \b
    Conditions have this form:
      --where 'model.name=tcn and metrics.esr<0.02'
      --where 'data.device in [TS9, RAT] and not status=COMPLETED'
      --where 'start>=2026-11-01 and note~warm'
    """
    if context.invoked_subcommand is None:
        with opened_book(runs_dir, remote, mongo) as book:
            list_rows(book, where, sort, tags, limit, as_json, as_csv)


for command in (show, compare, best, tag, note, delete, prune, push, pull):
    runs.add_command(command)
