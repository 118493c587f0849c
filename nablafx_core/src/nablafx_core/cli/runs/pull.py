"""``nablafx runs pull``: fetch a run of another machine from MongoDB."""

from __future__ import annotations

from pathlib import Path

import click

from nablafx_core.cli.runs.place import outer_option, runs_folder
from nablafx_core.cli.runs.shown import size
from nablafx_core.commands import mongo_option, say


@click.command()
@click.argument("run", metavar="ID")
@click.option("--out", type=click.Path(dir_okay=False), metavar="FILE", help="File for the bundle. Default: ID.nfx.")
@click.option("--all", "everything", is_flag=True, help="Fetch the whole run folder, not only the model's bundle.")
@click.option("--runs-dir", help="Folder in which --all creates the run folder. Default: runs.")
@mongo_option
def pull(run: str, out: str | None, everything: bool, runs_dir: str | None, mongo: str | None) -> None:
    """Fetch a run's bundle from MongoDB, or, with --all, the whole run.

    Each file is verified by its hash before it gets its name. An existing run folder is not changed.
    """
    if everything and out is not None:
        raise click.UsageError("--out is only for the bundle; --all creates a run folder in --runs-dir.")
    from nablafx_core.mongo.mongo_book import opened
    from nablafx_core.mongo.pulling import pull_bundle, pull_run

    with opened(mongo or outer_option("mongo"), "--mongo") as book:
        if everything:
            folder = pull_run(book, book.id_of(run), runs_folder(runs_dir))
            say(f"Fetched {folder}")
        else:
            run_id = book.id_of(run)
            path = Path(out or f"{run_id}.nfx")
            say(f"Fetched {path}, {size(pull_bundle(book, run_id, path))}")
