"""Options that choose the lab book: the runs in a folder, or those in a MongoDB."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from nablafx_core.commands import Command, mongo_option
from nablafx_core.config.defaults import MAIN_METRIC
from nablafx_core.runs.book import Book, FolderBook

where_option = click.option("--where", metavar="CONDITION", help="Only runs such as 'model.name=tcn and step>1000'.")
by_option = click.option(
    "--by",
    default=MAIN_METRIC,
    show_default=True,
    help="Figure whose smallest value is best; -NAME: the largest.",
)
per_option = click.option(
    "--per", default="data.device", show_default=True, help="Setting that is equal in the runs of a group."
)
yes_option = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")


def place_options(command: Command) -> Command:
    """Add ``--runs-dir``, ``--remote`` and ``--mongo``."""
    for decorate in (
        mongo_option,
        click.option("--remote", is_flag=True, help="Use the runs in MongoDB instead of a folder."),
        click.option("--runs-dir", help="Folder with the runs. Default: runs."),
    ):
        command = decorate(command)
    return command


def outer_option(name: str) -> Any:
    """Return the value of an option of ``nablafx runs``, before the name of the command; None if it is not set."""
    parent = click.get_current_context().parent
    return parent.params.get(name) if parent is not None else None


def runs_folder(runs_dir: str | None) -> Path:
    """Return the folder of ``--runs-dir``, before or after the name of the command."""
    return Path(runs_dir or outer_option("runs_dir") or "runs")


@contextmanager
def opened_book(runs_dir: str | None, remote: bool, mongo: str | None) -> Iterator[Book]:
    """Open the lab book that the options choose, before or after the name of the command.

    Raises:
        ConfigError: if ``--remote`` is set without an address.
        RunError: if the MongoDB cannot be reached, also later inside the ``with``.
    """
    mongo = mongo or outer_option("mongo")
    if not (remote or mongo or outer_option("remote")):
        yield FolderBook(runs_folder(runs_dir))
        return
    from nablafx_core.mongo.mongo_book import opened

    with opened(mongo, "--mongo") as book:
        yield book
