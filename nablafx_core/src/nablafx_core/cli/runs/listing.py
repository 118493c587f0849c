"""The list of ``nablafx runs``: as a table, JSON or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import click

from nablafx_core.cli.runs.place import where_option
from nablafx_core.cli.runs.shown import age, dataset, facts, figure, first_line, number_of_runs, safe
from nablafx_core.commands import Command, answer, say, table
from nablafx_core.config.defaults import LISTED_FIGURES
from nablafx_core.runs.book import Book
from nablafx_core.runs.ranking import ordered, select
from nablafx_core.runs.rows import FACTS, Row
from nablafx_core.runs.where import value_of

_COLUMNS = {name: one.column for name, one in FACTS.items() if one.column}
_SHOWN = (*_COLUMNS, *(f"metrics.{name}" for name in LISTED_FIGURES))

as_csv_option = click.option("--csv", "as_csv", is_flag=True, help="Print CSV, with figures in columns metrics.NAME.")


def list_options(command: Command) -> Command:
    """Add ``--where``, ``--sort``, ``--tag`` and ``--limit``."""
    for decorate in (
        click.option("--limit", type=click.IntRange(min=1), help="Largest number of runs."),
        click.option("--tag", "tags", multiple=True, help="Only runs with this tag; may be given several times."),
        click.option("--sort", metavar="NAME", help="Sort by a value such as metrics.esr; -NAME: largest first."),
        where_option,
    ):
        command = decorate(command)
    return command


def list_rows(
    book: Book,
    where: str | None,
    sort: str | None,
    tags: Sequence[str],
    limit: int | None,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Print the runs of a book that fulfil the condition and have the tags.

    Raises:
        RunError: if a name or a condition is invalid.
    """
    everything = book.rows()
    rows = [row for row in select(everything, where) if set(tags) <= set(row.tags)]
    if sort is not None:
        rows = ordered(rows, sort)
    shown = rows[:limit]
    if as_json:
        answer([facts(row) for row in shown])
    elif as_csv:
        click.echo(csv_text(shown).encode(), nl=False)
    elif shown:
        click.echo(_table(shown, sort))
        if len(shown) < len(rows):
            say(f"{len(shown):,} of {number_of_runs(len(rows))}.")
    else:
        click.echo(f"No runs in {book.place}." if not everything else "No run fulfils the condition.")


def csv_text(rows: Sequence[Row]) -> str:
    """Format rows as CSV (RFC 4180): the facts in a fixed order, then the figures by name, also "nan" and "inf"."""
    file = io.StringIO()
    writer = csv.writer(file)
    figures = sorted({name for row in rows for name in row.summary})
    columns = [name for name in facts(rows[0]) if name != "summary"] if rows else ["id"]
    writer.writerow([*columns, *(f"metrics.{name}" for name in figures)])
    for row in rows:
        known = {**facts(row), "tags": " ".join(row.tags)}
        writer.writerow([*(known[name] for name in columns), *(row.summary.get(name) for name in figures)])
    return file.getvalue()


def _table(rows: Sequence[Row], sort: str | None) -> str:
    """Format the columns that fit a terminal, the column that sorts the list, and tags if there are any."""
    name = (sort or "").removeprefix("-")
    extra = [name] if name and name not in _SHOWN else []
    shown = [one for one in _COLUMNS if one != "tags" or any(row.tags for row in rows)]
    after = shown.index("step") + 1
    columns = [*shown[:after], *(f"metrics.{figure}" for figure in LISTED_FIGURES), *extra, *shown[after:]]
    header = [_COLUMNS.get(column) or column.rpartition(".")[2].upper() for column in columns]
    return table([tuple(_cell(row, column) for column in columns) for row in rows], tuple(header))


def _cell(row: Row, column: str) -> str:
    if column == "note":
        return first_line(row.damage or row.error or row.note)
    if column == "data":
        return safe(dataset(row))
    if column == "start":
        return age(row.start)
    if column in ("step", "tags"):
        value = getattr(row, column)
        return "" if value is None else safe(" ".join(map(str, value)) if column == "tags" else str(value))
    value = value_of(row, column)
    return figure(value) or first_line("" if value is None else str(value), 40 if column not in _COLUMNS else 200)
