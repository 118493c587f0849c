"""A folder for what can be computed again: resampled recordings, verdicts on pairs of files."""

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
    """A folder ``NABLAFX_CACHE/name``, made if missing; the user's cache folder where that variable is not set."""
    folder = Path(cache_root()) / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{folder}: the cache folder cannot be made: {error.strerror}. "
            "Set NABLAFX_CACHE to a folder that can be written."
        ) from error
    return folder


def file_key(*paths: StrPath, extra: object = "") -> str:
    """A name that changes whenever one of the files, or `extra`, does."""
    stats = [(os.path.abspath(path), os.stat(path).st_size, os.stat(path).st_mtime_ns) for path in paths]
    return hashlib.sha256(repr((stats, extra)).encode()).hexdigest()[:32]


def resampled_file(path: StrPath, sample_rate: int) -> Path:
    """The file at another rate: itself if it has it, else a copy in the cache, written once.

    Raises:
        DataError: if the file cannot be used, no recording has such a rate, or the copy cannot be written.
    """
    info = files.probe(path)
    if info.sample_rate == sample_rate:
        return Path(path)
    if sample_rate not in files.RATES:
        lowest, highest = files.RATES[0], files.RATES[-1]
        raise DataError(f"{path}: cannot be resampled to {sample_rate} Hz; a rate is {lowest:,} to {highest:,} Hz.")
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
            if not isinstance(error.__cause__, OSError):  # the file is the cause, not the disk of the copy
                raise
            raise DataError(
                f"{path}: is resampled to {sample_rate} Hz into the cache folder, but {error} It needs "
                f"{4e-6 * length * file.channels:.1f} MB. Make room, or set NABLAFX_CACHE to another folder."
            ) from error


def _whole(path: Path) -> bool:
    try:
        files.probe(path)
    except DataError:
        return False
    return True


def remembered(name: str, key: str, kind: type[T], compute: Callable[[], T]) -> T:
    """Return the result of `compute`, from the cache folder if it was computed before.

    A cache that cannot be written is reported once, and the result is computed each time.

    Args:
        name: of the folder within the cache.
        key: names what is computed, with everything that it depends on.
        kind: the type of the value: a dataclass, or what else pydantic reads and writes as JSON.
        compute: called if nothing usable is stored.
    """
    adapter = TypeAdapter(kind)
    try:
        path = cache_folder(name) / f"{key}.json"
        return adapter.validate_json(path.read_bytes())
    except DataError as error:
        _tell(str(error))
        return compute()
    except (OSError, ValueError):
        value = compute()
    try:
        with replacing(path, alone=False) as temporary:
            temporary.write_bytes(adapter.dump_json(value))
    except OSError as error:
        _tell(f"{path.parent}: the cache cannot be written: {error.strerror}. NABLAFX_CACHE sets another folder.")
    return value


@lru_cache(maxsize=8)
def _tell(text: str) -> None:
    _log.warning("%s Until then, files are examined again each time.", text)
