"""A folder for what can be computed again: resampled recordings, verdicts on pairs of files."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nablafx_core.audio import files
from nablafx_core.audio.files import StrPath
from nablafx_core.audio.resampling import resample
from nablafx_core.errors import DataError


def cache_folder(name: str) -> Path:
    """A folder ``NABLAFX_CACHE/name``, made if missing; the user's cache folder where that variable is not set."""
    root = os.environ.get("NABLAFX_CACHE")
    if not root:
        root = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "nablafx")
    folder = Path(root) / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: the cache folder cannot be made: {error}. Set NABLAFX_CACHE to another.") from error
    return folder


def file_key(*paths: StrPath, extra: object = "") -> str:
    """A name that changes whenever one of the files, or `extra`, does."""
    stats = [(os.path.abspath(path), os.stat(path).st_size, os.stat(path).st_mtime_ns) for path in paths]
    return hashlib.sha256(repr((stats, extra)).encode()).hexdigest()[:32]


def resampled_file(path: StrPath, sample_rate: int) -> Path:
    """The file at another rate: itself if it has it, else a copy in the cache, written once."""
    info = files.probe(path)
    if info.sample_rate == sample_rate:
        return Path(path)
    copy = cache_folder("resampled") / f"{file_key(path, extra=(info.sample_rate, sample_rate))}.wav"
    if not copy.exists():
        files.write(copy, resample(files.read(path), info.sample_rate, sample_rate), sample_rate)
    return copy


def remembered(name: str, key: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `compute` gives, as plain data, from the cache folder if it was computed before."""
    path = cache_folder(name) / f"{key}.json"
    try:
        stored: dict[str, Any] = json.loads(path.read_text())
        return stored
    except (OSError, ValueError):
        value = compute()
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    temporary.write_text(json.dumps(value))
    os.replace(temporary, path)
    return value
