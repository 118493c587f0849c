"""``nablafx runs``: what was run."""

from __future__ import annotations

import math
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import click

from nablafx_core.cli.options import answer, as_json, runs_dir, table
from nablafx_core.cli.push import push
from nablafx_core.errors import RunError
from nablafx_core.tracking.records import RunRecord, find_run, list_runs

_MAIN_METRICS = ("esr", "mr_stft")
_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


@click.group(invoke_without_command=True)
@runs_dir
@as_json
@click.pass_context
def runs(context: click.Context, runs_dir: str, as_json: bool) -> None:
    """List recorded runs, the newest first, or show one."""
    if context.invoked_subcommand is not None:
        return
    records = list_runs(Path(runs_dir))
    if as_json:
        answer([_facts(record) for record in records])
    elif records:
        header = ("ID", "STATUS", "COMMAND", "MODEL", "DATA", "STEP", *(m.upper() for m in _MAIN_METRICS), "AGE", "")
        click.echo(table([_row(record) for record in records], header))
    else:
        click.echo(f"No runs in {runs_dir}.")


@runs.command()
@click.argument("run", metavar="ID", default="latest")
@click.option("--runs-dir", help="Folder that holds the run folders; that of `runs` if it is not given.")
@as_json
@click.pass_context
def show(context: click.Context, run: str, runs_dir: str | None, as_json: bool) -> None:
    """Show a run: its experiment, figures, files and where it ran.

    ID is an id, the beginning of one, or "latest".
    """
    outer = context.parent.params if context.parent else {}
    record = find_run(Path(runs_dir or outer.get("runs_dir", "runs")), run)
    if as_json or outer.get("as_json"):
        answer(_all_facts(record))
    else:
        click.echo("\n\n".join(part for part in _page(record) if part))


runs.add_command(push)


def _row(record: RunRecord) -> tuple[str, ...]:
    model, data = _names(record)
    figures = [_figure(_main_metric(record, metric)) for metric in _MAIN_METRICS]
    age = f"{_span((datetime.now(timezone.utc) - record.start).total_seconds())} ago" if record.start else ""
    note = (record.damage or (record.error if record.status == "FAILED" else None) or "").split("\n")[0]
    step = record.last_step
    start = (record.id, record.status, record.command or "", model, data, "" if step is None else str(step))
    return (*start, *figures, age, note)


def _facts(record: RunRecord) -> dict[str, Any]:
    """What the listing says, for programs; not-a-number and infinity are null, as JSON has neither."""
    model, data = _names(record)
    return {
        "id": record.id,
        "status": record.status,
        "damage": record.damage,
        "error": record.error,
        "command": record.command,
        "model": model or None,
        "data": data or None,
        "step": record.last_step,
        "summary": {name: _finite(value) for name, value in record.summary.items()},
        "start": record.start.isoformat() if record.start else None,
        "duration": record.duration,
    }


def _all_facts(record: RunRecord) -> dict[str, Any]:
    series = {
        name: {"steps": one.steps, "values": [_finite(value) for value in one.values]}
        for name, one in record.metrics.items()
    }
    return {
        **_facts(record),
        "folder": str(record.folder),
        "config": _config(record),
        "metrics": series,
        "artifacts": record.artifacts,
        "host": record.host,
        "packs": record.packs,
        "resumed": record.resumed,
    }


def _page(record: RunRecord) -> list[str]:
    """The parts of what `show` prints; empty ones are left out."""
    import yaml

    config = _config(record)
    return [
        table(_overview(record)),
        _titled("EXPERIMENT", yaml.safe_dump(config, sort_keys=False).rstrip() if config else ""),
        _titled("RESULT", table([(name, _figure(value)) for name, value in record.summary.items()])),
        _titled("METRICS", _series_table(record)),
        _titled("FILES", "\n".join(record.artifacts)),
        _titled("PACKS", table([(p["name"], p["version"], str(p.get("commit") or "")[:12]) for p in record.packs])),
    ]


def _overview(record: RunRecord) -> list[tuple[str, ...]]:
    host = record.host
    gpus = [gpu["name"] for gpu in (host.get("nvidia") or {}).get("gpus", [])]
    rows = {
        "run": record.id,
        "status": record.status,
        "why": record.damage or record.error or "",
        "command": record.command or "",
        "started": f"{record.start:%Y-%m-%d %H:%M:%S} UTC" if record.start else "",
        "resumed": f"{len(record.resumed)} times" if record.resumed else "",
        "ran for": "" if record.duration is None else _span(record.duration),
        "folder": str(record.folder),
        "host": ", ".join(str(host[key]) for key in ("hostname", "cpu") if host.get(key)),
        "gpus": ", ".join(gpus),
        "versions": f"python {host.get('python_version')}, torch {host.get('torch_version')}" if host else "",
    }
    return [(name, value) for name, value in rows.items() if value]


def _series_table(record: RunRecord) -> str:
    rows: list[tuple[str, ...]] = [
        (name, str(len(one.steps)), str(one.steps[-1]), _figure(one.values[-1]), _figure(_smallest(one.values)))
        for name, one in sorted(record.metrics.items())
    ]
    return table(rows, ("NAME", "VALUES", "LAST STEP", "LAST", "SMALLEST")) if rows else ""


def _titled(title: str, text: str) -> str:
    return "\n".join([title, *(f"  {line}" for line in text.splitlines())]) if text else ""


def _config(record: RunRecord) -> dict[str, Any]:
    try:
        return record.config
    except RunError:
        return {}


def _names(record: RunRecord) -> tuple[str, str]:
    """The model's name, and the dataset's with its device."""
    model, data = (
        section if isinstance(section, dict) else {}
        for section in (_config(record).get("model"), _config(record).get("data"))
    )
    named = [str(data[key]) for key in ("name", "device") if data.get(key)]
    return str(model.get("name", "")), "/".join(named)


def _main_metric(record: RunRecord, metric: str) -> float | None:
    """A figure of the summary, under its own name or the test's."""
    summary = record.summary
    return next((summary[name] for name in (f"test/{metric}", f"test_{metric}", metric) if name in summary), None)


def _finite(value: Any) -> float | None:
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def _smallest(values: list[float]) -> float:
    return min((value for value in values if not math.isnan(value)), default=math.nan)


def _figure(value: float | None) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else ""


def _span(seconds: float) -> str:
    """A length of time in its largest unit."""
    name, length = next((unit for unit in _UNITS if seconds >= unit[1]), _UNITS[-1])
    return f"{max(0.0, seconds) // length:.0f} {name}"
