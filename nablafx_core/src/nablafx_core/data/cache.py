"""Cache results that can be computed again: resampled recordings, checks of pairs of files, hashes."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

from nablafx_core.audio import reading as files
from nablafx_core.audio.reading import StrPath, opened, read_blocks
from nablafx_core.audio.resampling import check_ratio, resample_blocks, resampled_length
from nablafx_core.audio.writing import writing
from nablafx_core.errors import DataError
from nablafx_core.files import cache_root, replacing

_log = logging.getLogger(__name__)

T = TypeVar("T")


def cache_folder(name: str) -> Path:
    """Return the folder `name` of the cache; create it if it is missing.

    The cache is the folder in the environment variable ``NABLAFX_CACHE``; the user's cache folder if it is not set.

    Raises:
        DataError: if the folder cannot be created.
    """
    folder = Path(cache_root()) / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{folder}: the cache folder cannot be created: {error.strerror}. Set NABLAFX_CACHE to a writable folder."
        ) from error
    return folder


def file_key(*paths: StrPath, extra: object = "") -> str:
    """Return a key of the absolute paths, sizes and modification times of files, and of the text of `extra`.

    Raises:
        OSError: if a file does not exist.
    """
    stats = [(os.path.abspath(path), os.stat(path).st_size, os.stat(path).st_mtime_ns) for path in paths]
    return hashlib.sha256(repr((stats, extra)).encode()).hexdigest()[:32]


def resampled_file(path: StrPath, sample_rate: int) -> Path:
    """Return the file itself if it has the sample rate, else a resampled copy in the cache.

    The copy is written once, and again only if the file changes.

    Raises:
        DataError: if the file cannot be used, or if it must be resampled and the rate is not in `RATES`, the two rates
            have too small a common factor, or the copy cannot be written.
    """
    info = files.probe(path)
    if info.sample_rate == sample_rate:
        return Path(path)
    if sample_rate not in files.RATES:
        lowest, highest = files.RATES[0], files.RATES[-1]
        raise DataError(
            f"{path}: cannot be resampled to {sample_rate} Hz. Set the sample rate to a whole number of Hz from "
            f"{lowest:,} to {highest:,}."
        )
    check_ratio(path, info.sample_rate, sample_rate)
    # The length is included: for a file with a wrong header, it depends on this code as well as on the file.
    key = file_key(path, extra=(info.sample_rate, info.num_samples, sample_rate))
    copy = cache_folder("resampled") / f"{key}.wav"
    if not _whole(copy):
        _write_resampled(path, copy, sample_rate)
    return copy


def _write_resampled(path: StrPath, copy: Path, sample_rate: int) -> None:
    with opened(path) as file:
        length = resampled_length(file.frames, file.samplerate, sample_rate)
        try:
            with writing(copy, sample_rate, file.channels, length) as output:
                for block in resample_blocks(read_blocks(file), file.samplerate, sample_rate):
                    output.write(block)
        except DataError as error:
            if not isinstance(error.__cause__, OSError):  # the file is at fault, not the disk of the copy
                raise
            raise DataError(
                f"{path}: the copy at {sample_rate} Hz cannot be written to the cache folder: {error} It needs "
                f"{4e-6 * length * file.channels:.1f} MB. Free space, or set NABLAFX_CACHE to another folder."
            ) from error


def _whole(path: Path) -> bool:
    try:
        files.probe(path)
    except DataError:
        return False
    return True


def remembered(name: str, key: str, kind: type[T], compute: Callable[[], T]) -> T:
    """Return the result that the cache has stored; otherwise the result of `compute`, and store it.

    If the cache cannot be written, warn once and compute the result each time.

    Args:
        name: name of the folder within the cache.
        key: name of the result, which must differ whenever the result may differ; see `file_key`.
        kind: type of the result: a dataclass, or another type that pydantic reads and writes as JSON.
        compute: function that computes the result; called if no usable result is stored.
    """
    adapter = TypeAdapter(kind)
    try:
        path = cache_folder(name) / f"{key}.json"
        return adapter.validate_json(path.read_bytes())
    except DataError as error:
        _warn_once(str(error))
        return compute()
    except (OSError, ValueError):
        value = compute()
    try:
        with replacing(path, alone=False) as temporary:
            temporary.write_bytes(adapter.dump_json(value))
    except OSError as error:
        _warn_once(
            f"{path.parent}: the cache cannot be written: {error.strerror}. Set NABLAFX_CACHE to another folder."
        )
    return value


@lru_cache(maxsize=8)
def _warn_once(text: str) -> None:
    _log.warning("%s Until then, files are examined again each time.", text)
