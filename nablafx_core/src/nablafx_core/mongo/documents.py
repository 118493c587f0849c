"""Documents of runs, in the layout of Sacred's MongoObserver."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import bson

FORMAT = "MongoObserver-0.7.0"
_TIMES = ("start_time", "heartbeat", "stop_time")
_LARGEST = 15 << 20  # of a document, MongoDB's limit being 16 MiB; metrics and artifacts are documents of their own


def run_document(entry: Mapping[str, Any], folder: Mapping[str, Any]) -> dict[str, Any]:
    """The document of a run, but for its id, tags and note.

    Args:
        entry: its `run.json`.
        folder: what else the folder knows: config, config_yaml, info, metrics, artifacts, values, last_step, complete.
    """
    info = {**folder["info"], "metrics": folder["metrics"]}
    document = {
        **entry,
        **{key: value for key, value in folder.items() if key != "metrics"},
        "format": FORMAT,
        "captured_out": "",
        "info": info,
    }
    for key in _TIMES:
        if isinstance(document.get(key), str):
            document[key] = datetime.fromisoformat(document[key])
    stored: dict[str, Any] = storable(document)
    return stored


def fitting(document: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """The document, and whether it is whole: what is too large for MongoDB goes without what the run noted."""
    if len(bson.encode(document)) <= _LARGEST:
        return document, True
    return {**document, "info": {"metrics": document["info"]["metrics"]}}, False


def storable(value: Any) -> Any:
    """Return a copy that BSON can store.

    Integers of more than 64 bits become floats; bytes of a file name that are not UTF-8 become text like ``\\udcff``.
    """
    if isinstance(value, Mapping):
        return {storable(str(key)): storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable(item) for item in value]
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        return float(value)
    return value


def marked(value: Any) -> Any:
    """A copy with the strings ``NaN``, ``Infinity`` and ``-Infinity`` for such numbers; `float` reads them."""
    if isinstance(value, dict):
        return {key: marked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [marked(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def has_nonfinite(value: Any) -> bool:
    """Whether there is such a number in it."""
    if isinstance(value, dict):
        return any(map(has_nonfinite, value.values()))
    if isinstance(value, list):
        return any(map(has_nonfinite, value))
    return isinstance(value, float) and not math.isfinite(value)
