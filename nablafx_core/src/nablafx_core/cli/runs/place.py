"""Which lab book a command means: the runs of a folder or those of a MongoDB."""

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
    help="Figure, the smallest the best; -NAME: the largest.",
)
per_option = click.option("--per", default="data.device", show_default=True, help="What runs of a group share.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def place_options(command: Command) -> Command:
    """``--runs-dir``, ``--remote`` and ``--mongo``."""
    for decorate in (
        mongo_option,
        click.option("--remote", is_flag=True, help="The runs in MongoDB instead of a folder."),
        click.option("--runs-dir", help="Folder that holds the run folders; runs if not given."),
    ):
        command = decorate(command)
    return command


def outer_option(name: str) -> Any:
    """An option that was given to ``nablafx runs`` before the name of the command; None if there is none."""
    parent = click.get_current_context().parent
    return parent.params.get(name) if parent is not None else None


def runs_folder(runs_dir: str | None) -> Path:
    """The folder of ``--runs-dir``, wherever on the line it was given."""
    return Path(runs_dir or outer_option("runs_dir") or "runs")


@contextmanager
def opened_book(runs_dir: str | None, remote: bool, mongo: str | None) -> Iterator[Book]:
    """The lab book of the options, wherever on the line they were given.

    Raises:
        ConfigError: for ``--remote`` without an address.
        RunError: if the MongoDB cannot be reached, also from within the ``with``.
    """
    mongo = mongo or outer_option("mongo")
    if not (remote or mongo or outer_option("remote")):
        yield FolderBook(runs_folder(runs_dir))
        return
    from nablafx_core.mongo.mongo_book import opened

    with opened(mongo) as book:
        yield book
