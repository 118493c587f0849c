"""Build documents of runs, in the layout of Sacred's MongoObserver."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import bson

FORMAT = "MongoObserver-0.7.0"
_TIMES = ("start_time", "heartbeat", "stop_time")
_LARGEST = 15 << 20  # bytes of a document; MongoDB's limit is 16 MiB. Metrics and artifacts are separate documents


def run_document(entry: Mapping[str, Any], folder: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document of a run, without its id, tags and note.

    Args:
        entry: content of the run's `run.json`.
        folder: other facts from the folder: config, config_yaml, info, metrics, artifacts, values, last_step, complete.
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
    """Return the document and True; without the run's info and False if it is too large for MongoDB."""
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
    """Return a copy with NaN and infinite numbers as the strings ``NaN``, ``Infinity`` and ``-Infinity``."""
    if isinstance(value, dict):
        return {key: marked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [marked(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def has_nonfinite(value: Any) -> bool:
    """Return true if a value contains a number that is NaN or infinite."""
    if isinstance(value, dict):
        return any(map(has_nonfinite, value.values()))
    if isinstance(value, list):
        return any(map(has_nonfinite, value))
    return isinstance(value, float) and not math.isfinite(value)
