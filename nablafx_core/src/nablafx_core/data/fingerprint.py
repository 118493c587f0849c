"""Fingerprint a run's recordings, so that a run whose data was moved resumes only with the same data."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from nablafx_core.data.cache import file_key, remembered
from nablafx_core.errors import DataError
from nablafx_core.files import file_hash
from nablafx_core.interfaces import Dataset, Recording

NAME = "data.json"
"""Name of the file in a run's folder that holds the fingerprint."""

_SIGNALS = ("dry", "wet")
_OF_RECORDING = ("sample_rate", "controls", "part", "start", "stop")
_OF_SIGNAL = ("channel", "offset", "num_samples")
_AT_ONCE = 8  # files hashed at the same time; more do not read faster


def fingerprint(dataset: Dataset) -> dict[str, Any] | None:
    """Return sizes and hashes of a dataset's files and the parts that it reads; None if it reads no files.

    The files are those in the attribute `file` of the recordings' sources. A file is hashed once, and again only if it
    changes; see `remembered`.

    Raises:
        DataError: if a file cannot be read.
    """
    paths = sorted({path for recording in dataset.recordings for _, path in _files(recording)})
    if not paths:
        return None
    with ThreadPoolExecutor(min(_AT_ONCE, os.cpu_count() or 1)) as pool:
        hashes = dict(zip(paths, pool.map(_hashed, paths), strict=True))
    recordings = [_described(recording, hashes, dataset.sample_rate) for recording in dataset.recordings]
    return {"version": 1, "recordings": recordings}


def difference(before: Mapping[str, Any], dataset: Dataset) -> str | None:
    """Describe how a dataset differs from a fingerprint; None if it does not differ.

    Names of recordings and paths of files may differ. Number and order of the recordings, the contents of the files,
    the channels and samples that are read, sample rate, knob positions and parts of the split must be equal.

    Args:
        before: result of `fingerprint` that was stored.
        dataset: dataset to compare with it.

    Raises:
        DataError: if a file cannot be read, or the fingerprint is damaged.
    """
    now = fingerprint(dataset) or {"recordings": []}
    try:
        old, new = list(before["recordings"]), now["recordings"]
        if len(old) != len(new):
            return _count_difference([str(one["name"]) for one in old], [one["name"] for one in new])
        for was, now_is, recording in zip(old, new, dataset.recordings, strict=True):
            if problem := _changed(was, now_is, dict(_files(recording))):
                return problem
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{NAME} of the run is damaged: {type(error).__name__}: {error}. Restore it from a copy of the run, or "
            "remove it and put the data where it was."
        ) from error
    return None


def _count_difference(old: list[str], new: list[str]) -> str:
    names = [f"'{name}' is missing" for name in old if name not in new]
    names += [f"'{name}' is new" for name in new if name not in old]
    return f"{len(new):,} recordings instead of {len(old):,}" + (f": {', '.join(names[:3])}" if names else "")


def _changed(was: Mapping[str, Any], now: Mapping[str, Any], paths: Mapping[str, Path]) -> str | None:
    settings = [(was.get(key), now.get(key), f"{key} of '{now['name']}'") for key in _OF_RECORDING]
    for signal in _SIGNALS:
        old, new = was.get(signal) or {}, now.get(signal) or {}
        where = paths.get(signal, f"{signal} of '{now['name']}'")
        if old.get("size") != new.get("size"):
            return f"{where}: has {new.get('size', 0):,} bytes; the run's file had {old.get('size', 0):,}"
        if old.get("sha256") != new.get("sha256"):
            return f"{where}: its content differs from that of the run's file"
        settings += [(old.get(key), new.get(key), f"{key} of {where}") for key in _OF_SIGNAL]
    return next((f"{what} is {new}; it was {old}" for old, new, what in settings if old != new), None)


def _described(recording: Recording, hashes: Mapping[Path, tuple[str, int]], sample_rate: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": recording.name,
        "sample_rate": sample_rate,
        "controls": list(recording.controls),
        "part": recording.part,
        "start": recording.start,
        "stop": recording.stop,
    }
    for signal, path in _files(recording):
        source: Any = getattr(recording, signal)
        channel = getattr(source, "channel", 0)
        found[signal] = {
            "file": path.name,
            "size": hashes[path][1],
            "sha256": hashes[path][0],
            "channel": channel if isinstance(channel, int) else list(channel),
            "offset": getattr(source, "offset", 0),
            "num_samples": source.num_samples,
        }
    return found


def _files(recording: Recording) -> Iterator[tuple[str, Path]]:
    """Yield the name of each signal that is read from a file, and the path of the user's file, even if resampled."""
    for signal in _SIGNALS:
        file = getattr(getattr(recording, signal), "file", None)
        if isinstance(file, str | os.PathLike):
            yield signal, Path(os.fspath(file))


def _hashed(path: Path) -> tuple[str, int]:
    try:
        return remembered("hashes", file_key(path), tuple[str, int], lambda: file_hash(path))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}.") from error
