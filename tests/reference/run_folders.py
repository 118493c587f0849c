"""Run folders as the recorder writes them, in a few lines."""

from __future__ import annotations

import json

import yaml


def write_run(
    runs_dir, run_id, config=None, summary=None, points=(), notes=None, started="2026-11-23T07:00:00", **entry
):
    """Write a run folder.

    Args:
        points: logged values as (name, step, value).
        entry: further keys of run.json.
    """
    folder = runs_dir / run_id
    folder.mkdir(parents=True)
    known = {"status": "COMPLETED", "command": "train", "start_time": started, "heartbeat": started, "elapsed": 60.0}
    known |= {"result": summary, "artifacts": [], "revision": 3, "parent": None, "packs": [], "resumed": []}
    config = config or {}
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    (folder / "config.json").write_text(json.dumps(config))
    lines = [{"name": name, "step": step, "value": value, "timestamp": started} for name, step, value in points]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if notes is not None:
        (folder / "notes.json").write_text(json.dumps(notes))
    (folder / "run.json").write_text(json.dumps({**known, **entry}))
    return folder
