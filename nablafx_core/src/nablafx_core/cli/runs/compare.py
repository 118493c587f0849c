"""``nablafx runs compare``: show the different settings of runs, and their results."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from nablafx_core.cli.runs.place import opened_book, outer_option, place_options
from nablafx_core.cli.runs.shown import age, dataset, figure, finite, first_line, safe
from nablafx_core.commands import answer, as_json, say, table
from nablafx_core.errors import RunError
from nablafx_core.hints import did_you_mean
from nablafx_core.names import told_apart
from nablafx_core.pictures.sparkline import Chart
from nablafx_core.runs.metrics_file import Series
from nablafx_core.runs.ranking import is_figure
from nablafx_core.runs.records import RunRecord
from nablafx_core.runs.rows import Row
from nablafx_core.runs.where.columns import names_component, settings

_MISSING = "-"


@click.command()
@click.argument("ids", metavar="ID ID...", nargs=-1, required=True)
@click.option("--metric", default="validation/loss", show_default=True, help="Figure whose curves are drawn.")
@click.option(
    "--picture", type=click.Path(dir_okay=False), metavar="FILE.png", help="Also write a picture of the curves."
)
@place_options
@as_json
def compare(
    ids: tuple[str, ...],
    metric: str,
    picture: str | None,
    runs_dir: str | None,
    remote: bool,
    mongo: str | None,
    as_json: bool,
) -> None:
    """Compare runs: different settings, final figures with a star at the best, curves."""
    with opened_book(runs_dir, remote, mongo) as book:
        records = list({record.id: record for record in (book.find(key) for key in ids)}.values())
        if len(records) < 2:
            raise click.UsageError("Give at least two different runs.")
        curves = {record.id: record.metrics.get(metric) for record in records}
        _check_metric(records, metric)
        differing = _differing(records)
        rows = [Row.of(record) for record in records]
    if picture is not None:
        _draw(curves, metric, Path(picture))
    if as_json or outer_option("as_json"):
        answer(_as_data(records, differing, curves, metric))
    else:
        click.echo("\n\n".join(part for part in _page(rows, records, differing, curves, metric) if part))
    if picture is not None:
        say(f"Wrote {picture}")


def _check_metric(records: Sequence[RunRecord], metric: str) -> None:
    known = sorted({name for record in records for name in record.metrics})
    if known and metric not in known:
        hint = did_you_mean(metric, known, f" They have {', '.join(known[:10])}.")
        if metric != "validation/loss":
            raise RunError(f"--metric: none of the runs has '{metric}'.{hint}")


def _differing(records: Sequence[RunRecord]) -> dict[str, list[str]]:
    """Return the settings that differ between the runs, as text by path; "-" if a run does not have the setting."""
    flat = [{path: _text(value) for path, value in settings(record.readable_config)} for record in records]
    paths = dict.fromkeys(path for one in flat for path in one)
    rows = {path: [one.get(path, _MISSING) for one in flat] for path in paths}
    rows = {path: _as_components(values) if names_component(path) else values for path, values in rows.items()}
    return {path: values for path, values in rows.items() if len(set(values)) > 1}


def _as_components(values: list[str]) -> list[str]:
    """Shorten names of components to the same form, because older runs recorded them without their packs."""
    shown = told_apart(values)
    return [shown[value] for value in values]


def _figures(records: Sequence[RunRecord]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for record in records for name in record.summary)
    return {name: [record.summary.get(name) for record in records] for name in names}


def _page(
    rows: Sequence[Row],
    records: Sequence[RunRecord],
    differing: Mapping[str, Sequence[str]],
    curves: Mapping[str, Series | None],
    metric: str,
) -> list[str]:
    numbers = [str(number) for number in range(1, len(rows) + 1)]
    facts = [(row.id, row.status, row.model or "", dataset(row), age(row.start)) for row in rows]
    notes = [first_line(row.note, 40) for row in rows]
    head = [(number, *map(safe, fact), note) for number, fact, note in zip(numbers, facts, notes, strict=True)]
    changed = [(safe(path), *(first_line(value, 36) for value in values)) for path, values in differing.items()]
    figures = [(safe(name), *_marked(values, name)) for name, values in _figures(records).items()]
    return [
        table(head),
        table(changed, ("SETTING", *numbers)) if changed else "All settings are the same.",
        table(figures, ("FIGURE", *numbers)) + "\n* the best" if figures else "",
        _chart(curves, metric),
    ]


def _marked(values: Sequence[Any], name: str) -> list[str]:
    """Format figures, with a star at the smallest; steps get no star."""
    best = None if name.endswith("/step") else min((value for value in values if is_figure(value)), default=None)
    return [f"{figure(value) or _MISSING}{' *' if value is not None and value == best else ''}" for value in values]


def _chart(curves: Mapping[str, Series | None], metric: str) -> str:
    known = {str(number): one for number, one in enumerate(curves.values(), 1) if one is not None}
    if not known:
        return ""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    chart = Chart.of(list(known.values()), encoding)
    lines = []
    for number, one in known.items():
        lowest = chart.lowest(one)
        tail = "" if lowest is None else f"lowest {figure(lowest[1])} at step {lowest[0]:,}"
        lines.append((number, chart.line(one), f"last {figure(one.values[-1])}", tail))
    return f"{safe(metric).upper()}  {chart.scale()}\n{table(lines)}"


def _draw(curves: Mapping[str, Series | None], metric: str, path: Path) -> None:
    known = {run_id: one for run_id, one in curves.items() if one is not None}
    if not known:
        raise RunError(f"--picture: none of the runs has values of '{metric}'.")
    if not path.parent.is_dir():
        raise RunError(f"--picture: there is no folder {path.parent}.")
    from nablafx_core.pictures.compared import plot_compared

    plot_compared(known, metric, path)


def _as_data(
    records: Sequence[RunRecord],
    differing: Mapping[str, Sequence[str]],
    curves: Mapping[str, Series | None],
    metric: str,
) -> dict[str, Any]:
    flat = [dict(settings(record.readable_config)) for record in records]
    return {
        "runs": [record.id for record in records],
        "settings": {path: [one.get(path) for one in flat] for path in differing},
        "figures": {name: [finite(value) for value in values] for name, values in _figures(records).items()},
        "metric": metric,
        "curves": [
            None if one is None else {"steps": one.steps, "values": [finite(value) for value in one.values]}
            for one in curves.values()
        ],
    }


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"[{', '.join(map(_text, value))}]" if isinstance(value, list) else str(value)
