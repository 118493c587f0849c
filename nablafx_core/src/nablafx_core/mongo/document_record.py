"""Read runs from MongoDB, with the interface of runs that are read from a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nablafx_core.errors import ConfigError, RunError
from nablafx_core.runs.metrics_file import Series
from nablafx_core.runs.notes import Notes
from nablafx_core.runs.records import RunRecord, plain_config

if TYPE_CHECKING:
    from pymongo.database import Database

_NOT_IN_RUN_JSON = frozenset(
    "_id config config_yaml info captured_out format values last_step tags note edited complete version "
    "deleting".split()
)


@dataclass(frozen=True)
class DocumentRecord(RunRecord):
    """A run, read from its document in MongoDB.

    Attributes:
        document: document of the run in the collection `runs`.
        database: database with the run's metrics; None for no metrics.
    """

    document: Mapping[str, Any] = field(default_factory=dict, repr=False)
    database: Database[dict[str, Any]] | None = field(default=None, repr=False)

    @property
    def quick_config(self) -> dict[str, Any]:
        """Experiment of the run in Sacred's form."""
        return _mapping(self.document.get("config"))

    @cached_property
    def config(self) -> dict[str, Any]:
        """Experiment of the run.

        Raises:
            RunError: if it is damaged.
        """
        text = self.document.get("config_yaml")
        if not isinstance(text, str) or not text:
            return self.quick_config
        try:
            return _mapping(plain_config(text.encode(), f"{self.folder}: config_yaml"))
        except ConfigError as error:
            raise RunError(str(error)) from error

    @cached_property
    def metrics(self) -> dict[str, Series]:
        """All logged metrics by name."""
        return {} if self.database is None else read_metrics(self.database, self.id)

    @property
    def last_step(self) -> int | None:
        """Step of the last logged value."""
        step = self.document.get("last_step")
        return step if isinstance(step, int) else None

    @property
    def info(self) -> dict[str, Any]:
        """Facts that the run recorded with `set_info`."""
        return {key: value for key, value in _mapping(self.document.get("info")).items() if key != "metrics"}

    @cached_property
    def notes(self) -> Notes:
        """Tags and note that users have added."""
        return Notes.of(self.document)

    @property
    def files(self) -> list[dict[str, Any]]:
        """Name, file_id, sha256 and size of each artifact; invalid entries are left out."""
        kinds = {"name": str, "file_id": str, "sha256": str, "size": int}
        found = self.document.get("artifacts")
        return [
            one
            for one in (found if isinstance(found, list) else [])
            if isinstance(one, dict) and all(isinstance(one.get(key), kind) for key, kind in kinds.items())
        ]


def entry_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `run.json` contains, from a run's document: artifacts by name, and results as numbers."""
    entry: dict[str, Any] = _plain({key: value for key, value in document.items() if key not in _NOT_IN_RUN_JSON})
    found, result = entry.get("artifacts"), entry.get("result")
    names = [one.get("name") for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    if isinstance(result, dict):
        entry["result"] = {name: _number(value) for name, value in result.items()}
    return {**entry, "artifacts": [name for name in names if isinstance(name, str)]}


def read_metrics(database: Database[dict[str, Any]], run_id: str) -> dict[str, Series]:
    """Return the metrics of a run by name, joined from their chunks, in the order of the steps.

    If two chunks have a value for the same step, the chunk with the larger `seen` counts.

    Raises:
        RunError: if a chunk is damaged.
    """
    points: dict[str, dict[int, tuple[float, str]]] = {}
    chunks = list(database["metrics"].find({"run_id": run_id}))
    chunks.sort(key=lambda chunk: (chunk.get("seen") or 0, chunk.get("chunk") or 0))
    for chunk in chunks:
        try:
            rows = zip(chunk["steps"], chunk["values"], chunk["timestamps"], strict=True)
            for step, value, time in rows:
                text = time.isoformat() if isinstance(time, datetime) else ""
                points.setdefault(str(chunk["name"]), {})[int(step)] = (float(value), text)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise RunError(
                f"the run {run_id}: a part of its metric '{chunk.get('name')}' in MongoDB ({chunk.get('_id')}) is "
                f"damaged: {error}. Push the run again from the machine that has its folder."
            ) from error
    return {
        name: Series(steps := sorted(one), [one[step][0] for step in steps], [one[step][1] for step in steps])
        for name, one in points.items()
    }


def _number(value: Any) -> Any:
    return float(value) if value in ("NaN", "Infinity", "-Infinity") else value


def _plain(value: Any) -> Any:
    """Return a copy in JSON's types: times in ISO 8601, other types of BSON as text."""
    return json.loads(json.dumps(value, default=lambda one: one.isoformat() if isinstance(one, datetime) else str(one)))


def _mapping(value: Any) -> dict[str, Any]:
    return _plain(value) if isinstance(value, dict) else {}
