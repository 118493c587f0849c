"""``nablafx runs show``: show all details of a run."""

from __future__ import annotations

import math
import os
from typing import Any

import click

from nablafx_core.cli.runs.place import opened_book, outer_option, place_options
from nablafx_core.cli.runs.shown import age, facts, figure, finite, safe, span
from nablafx_core.commands import answer, as_json, table
from nablafx_core.config.defaults import MAIN_FIGURE, MAIN_METRIC
from nablafx_core.runs.records import RunRecord
from nablafx_core.runs.rows import FACTS, Row
from nablafx_core.runs.where import value_of

_MACHINE = "system/"


@click.command()
@click.argument("run", metavar="ID", default="latest")
@place_options
@as_json
def show(run: str, runs_dir: str | None, remote: bool, mongo: str | None, as_json: bool) -> None:
    """Show a run: its experiment, figures, files and machine.

    ID is an id, the beginning of one, or "latest".
    """
    with opened_book(runs_dir, remote, mongo) as book:
        record = book.find(run)
        children = [row for row in book.rows() if row.parent == record.id]
        if as_json or outer_option("as_json"):
            answer(_all_facts(record, children))
        else:
            click.echo("\n\n".join(part for part in _page(record, children) if part))


def _all_facts(record: RunRecord, children: list[Row]) -> dict[str, Any]:
    series = {
        name: {"steps": one.steps, "values": [finite(value) for value in one.values]}
        for name, one in record.metrics.items()
    }
    return {
        **facts(Row.of(record)),
        "folder": str(record.folder),
        "config": record.readable_config,
        "metrics": series,
        "artifacts": record.artifacts,
        "host": record.host,
        "packs": record.packs,
        "resumed": record.resumed,
        "children": [row.id for row in children],
    }


def _page(record: RunRecord, children: list[Row]) -> list[str]:
    """Return the parts of the printed page; the caller drops empty ones."""
    import yaml

    config = record.readable_config
    return [
        table(_overview(record)),
        _titled("EXPERIMENT", yaml.safe_dump(config, sort_keys=False).rstrip() if config else ""),
        _titled("RESULT", table([(name, figure(value)) for name, value in record.summary.items()])),
        _titled("METRICS", _series_table(record)),
        _titled("MACHINE", _machine_table(record)),
        _titled("CHILDREN", _children_table(children)),
        _titled("FILES", "\n".join(_files(record))),
        _titled("PACKS", table([(p["name"], p["version"], str(p.get("commit") or "")[:12]) for p in record.packs])),
    ]


def _overview(record: RunRecord) -> list[tuple[str, ...]]:
    host, row = record.host, Row.of(record)
    gpus = [gpu["name"] for gpu in (host.get("nvidia") or {}).get("gpus", [])]
    lines = {one.page: _text(getattr(row, name)) for name, one in FACTS.items() if one.page}
    lines |= {
        "started": f"{record.start:%Y-%m-%d %H:%M:%S} UTC" if record.start else "",
        "ran for": "" if record.duration is None else span(record.duration),
        "why": record.damage or record.error or "",
        "damaged": "\n".join(record.unreadable),
        "resumed": f"{len(record.resumed)} times" if record.resumed else "",
        "folder": str(record.folder),
        "host": ", ".join(str(host[key]) for key in ("hostname", "cpu") if host.get(key)),
        "gpus": ", ".join(gpus),
        "versions": f"python {host.get('python_version')}, torch {host.get('torch_version')}" if host else "",
    }
    return [
        (name if number == 0 else "", safe(line))
        for name, value in lines.items()
        for number, line in enumerate(value.strip().split("\n"))
        if value
    ]


def _text(value: Any) -> str:
    return " ".join(value) if isinstance(value, tuple) else "" if value is None else str(value)


def _series_table(record: RunRecord) -> str:
    rows: list[tuple[str, ...]] = [
        (name, str(len(one.steps)), str(one.steps[-1]), figure(one.values[-1]), figure(_smallest(one.values)))
        for name, one in sorted(record.metrics.items())
        if not name.startswith(_MACHINE)
    ]
    return table(rows, ("NAME", "VALUES", "LAST STEP", "LAST", "SMALLEST")) if rows else ""


def _machine_table(record: RunRecord) -> str:
    """Format the measurements of the machine during the run."""
    rows = [
        (safe(name.removeprefix(_MACHINE)), figure(sum(values) / len(values)), figure(min(values)), figure(max(values)))
        for name, one in sorted(record.metrics.items())
        if name.startswith(_MACHINE) and (values := [value for value in one.values if math.isfinite(value)])
    ]
    return table(rows, ("NAME", "MEAN", "SMALLEST", "LARGEST")) if rows else ""


def _children_table(children: list[Row]) -> str:
    """Format the runs that this one started, such as the trials of a sweep."""
    rows = [
        (
            safe(row.id),
            row.status,
            safe(row.model or ""),
            figure(value_of(row, MAIN_METRIC)),
            age(row.start),
        )
        for row in children
    ]
    return table(rows, ("ID", "STATUS", "MODEL", MAIN_FIGURE.upper(), "AGE")) if rows else ""


def _files(record: RunRecord) -> list[str]:
    """Return the names of the recorded files, with a mark for files that are missing in the folder."""
    here = record.folder.is_dir()  # files in MongoDB are not in a folder
    return [
        safe(name) + ("  (missing)" if here and not os.path.exists(os.path.join(record.folder, name)) else "")
        for name in record.artifacts
    ]


def _titled(title: str, text: str) -> str:
    return "\n".join([title, *(f"  {line}" for line in text.splitlines())]) if text else ""


def _smallest(values: list[float]) -> float:
    return min((value for value in values if not math.isnan(value)), default=math.nan)
