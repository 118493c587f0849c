"""The list of ``nablafx runs``: as a table, JSON or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import click

from nablafx_core.cli.options import Command, answer, say, table
from nablafx_core.cli.runs.place import where_option
from nablafx_core.cli.runs.shown import age, dataset, facts, figure, first_line, number_of_runs, safe
from nablafx_core.tracking.book import Book
from nablafx_core.tracking.ranking import ordered, select
from nablafx_core.tracking.rows import Row
from nablafx_core.tracking.where import value_of

_SHOWN = ("id", "status", "command", "model", "data", "step", "start", "metrics.esr", "metrics.mr_stft")

as_csv_option = click.option("--csv", "as_csv", is_flag=True, help="Print CSV, the figures as columns metrics.NAME.")


def list_options(command: Command) -> Command:
    """``--where``, ``--sort``, ``--tag`` and ``--limit``."""
    for decorate in (
        click.option("--limit", type=click.IntRange(min=1), help="Only so many."),
        click.option("--tag", "tags", multiple=True, help="Only runs with this tag; may be given several times."),
        click.option("--sort", metavar="NAME", help="By a value such as metrics.esr; -NAME: the largest first."),
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
    """Print the runs of a book that are asked for.

    Raises:
        RunError: if a name or a condition cannot be used.
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
        click.echo(f"No runs in {book.place}." if not everything else "No run fulfils that.")


def csv_text(rows: Sequence[Row]) -> str:
    """CSV as RFC 4180 has it: the facts in a fixed order, then the figures by name; "nan" and "inf" are figures."""
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
    """The columns that fit a terminal, with what the list is sorted by, and tags if there are any."""
    name = (sort or "").removeprefix("-")
    extra = name if name and name not in _SHOWN else None
    tagged = any(row.tags for row in rows)
    header = ["ID", "STATUS", "COMMAND", "MODEL", "DATA", "STEP", "ESR", "MR_STFT"]
    header += [extra.rpartition(".")[2].upper()] if extra else []
    header += ["AGE", *(["TAGS"] if tagged else []), "NOTE OR ERROR"]
    return table([_line(row, extra, tagged) for row in rows], tuple(header))


def _line(row: Row, extra: str | None, tagged: bool) -> tuple[str, ...]:
    cells = [row.id, row.status, row.command or "", row.model or "", dataset(row)]
    cells += ["" if row.step is None else str(row.step)]
    cells += [figure(value_of(row, f"metrics.{name}")) for name in ("esr", "mr_stft")]
    if extra:
        value = value_of(row, extra)
        cells.append(figure(value) or first_line("" if value is None else str(value), 40))
    cells += [age(row.start), *([" ".join(row.tags)] if tagged else [])]
    return (*map(safe, cells), first_line(row.damage or row.error or row.note))
