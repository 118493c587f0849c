"""``nablafx runs push``: send to MongoDB the parts of runs that it does not have."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from nablafx_core.cli.runs.place import outer_option, runs_folder
from nablafx_core.commands import answer, as_json, mongo_option, say
from nablafx_core.errors import RunError
from nablafx_core.runs.records import find_run, list_runs

if TYPE_CHECKING:
    from nablafx_core.mongo.pushing import Pushed


@click.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--runs-dir", help="Folder with the runs. Default: runs.")
@mongo_option
@as_json
def push(ids: tuple[str, ...], runs_dir: str | None, mongo: str | None, as_json: bool) -> None:
    """Send to MongoDB the parts of runs that it does not have; without IDs, of all runs.

    Parts that MongoDB has are read back, not sent again. A run is complete when all of its parts were found.
    """
    from pymongo.errors import PyMongoError

    from nablafx_core.mongo.address import required_address
    from nablafx_core.mongo.pushing import incomplete
    from nablafx_core.mongo.pushing import push as push_run

    address = required_address(mongo or outer_option("mongo"), "--mongo")
    folder = runs_folder(runs_dir)
    chosen = [find_run(folder, key) for key in ids]
    pushed: list[Pushed] = []
    wrong: list[str] = []
    try:
        with address.database() as database:
            for record in chosen or incomplete(list_runs(folder), database):
                try:
                    pushed.append(push_run(record.folder, database))
                except RunError as error:
                    wrong.append(f"{record.id}: {error}")
                else:
                    say(_line(pushed[-1]))
    except PyMongoError as error:
        wrong.append(f"{address.explained(error)}. What was sent is there; push again for the rest.")
    wrong += [f"{one.id}: {', '.join(one.missing)} are missing in MongoDB." for one in pushed if one.missing]
    if as_json:
        answer([asdict(one) for one in pushed])
    elif not (pushed or wrong):
        click.echo(f"MongoDB {address} has all runs in {folder}, complete.")
    if wrong:
        raise RunError(f"MongoDB {address} does not have the complete runs:\n  " + "\n  ".join(wrong))


def _line(pushed: Pushed) -> str:
    state = "still running" if pushed.running else "incomplete" if pushed.missing else "complete"
    return f"{pushed.id}  {pushed.values:,} values, {pushed.files} files, {state}"
