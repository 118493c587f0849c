"""Read the properties of audio files, and their audio, whole or in parts."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

import soundfile  # type: ignore[import-untyped]
import torch
from torch import Tensor

from nablafx_core.audio.flac import PatchedFlac, flac_length
from nablafx_core.audio.headers import Header, Span, read_header
from nablafx_core.audio.values import StrPath, check_finite, native
from nablafx_core.audio.writing import write
from nablafx_core.errors import DataError

__all__ = [
    "AudioInfo",
    "StrPath",
    "open_file",
    "opened",
    "probe",
    "probe_quietly",
    "read",
    "read_blocks",
    "read_piece",
    "write",
]

_NOT_DECLARED = (1 << 63) - 1  # libsndfile's number of samples for a FLAC file that declares no length
_log = logging.getLogger(__name__)

RATES = range(1_000, 1_000_001)
"""Accepted sample rates in Hz: whole numbers from 1,000 to 1,000,000. A file that declares another one is refused."""


class AudioInfo(NamedTuple):
    """Properties of an audio file.

    Args:
        num_samples: number of samples per channel.
        sample_rate: sample rate in Hz.
        channels: number of channels.
        format: container and encoding in the terms of libsndfile, such as ``"WAV FLOAT"``.
    """

    num_samples: int
    sample_rate: int
    channels: int
    format: str


def probe(path: StrPath) -> AudioInfo:
    """Return the properties of a file without decoding its audio.

    Log a warning if data follows the audio that the header declares; for an unchanged file, only once.

    Raises:
        DataError: if the file does not exist, is a folder, cannot be read, is not audio, holds no samples, is shorter
            than its header declares, has a sample rate outside `RATES`, or its length cannot be found.
    """
    return _warned(*_identity(path))


def probe_quietly(path: StrPath) -> tuple[AudioInfo, str | None]:
    """Return the properties of a file as `probe` does, and the text of the warning, which is not logged, or None."""
    return _probed(*_identity(path))


def _identity(path: StrPath) -> tuple[str, int, int, int]:
    """Return the path, inode, size and modification time (ns) of a file, the key of a cache; errors as in `probe`."""
    try:
        stat = os.stat(path)
    except (OSError, ValueError):
        with opened(path):  # raises
            raise
    return os.fspath(path), stat.st_ino, stat.st_size, stat.st_mtime_ns


@lru_cache(maxsize=100_000)
def _warned(path: str, number: int, size: int, modified: int) -> AudioInfo:
    info, remark = _probed(path, number, size, modified)
    if remark:
        _log.warning("%s: %s", path, remark)
    return info


@lru_cache(maxsize=100_000)
def _probed(path: str, number: int, size: int, modified: int) -> tuple[AudioInfo, str | None]:
    with opened(path) as file:
        header = read_header(path) or flac_length(path)
        info = AudioInfo(file.frames, file.samplerate, file.channels, f"{file.format} {file.subtype}")
        return info, header.remark() if header is not None else None


def read(path: StrPath, start: int = 0, stop: int | None = None) -> Tensor:
    """Read samples from start to stop (excluded; the end if None) as float32 (channels, time), full scale +-1.

    Raises:
        DataError: as for `probe`, and if the samples lie outside the file, cannot be decoded, or contain NaN or
            infinity.
    """
    with opened(path) as file:
        return read_piece(file, start, file.frames if stop is None else stop)


@contextmanager
def opened(path: StrPath) -> Iterator[soundfile.SoundFile]:
    """Open a file as `open_file` does, and close it at the end of the ``with``."""
    with open_file(path) as file:
        yield file


def open_file(path: StrPath) -> soundfile.SoundFile:
    """Open a file for reading and check it; the caller must close it.

    If the header of uncompressed audio declares too little or no length, the audio reaches to the end of the file; in
    FLAC, to the end of the last complete frame. If a second recording follows, it is not read.

    Raises:
        DataError: as for `probe`.
    """
    if os.path.isdir(path):
        raise DataError(f"{path}: is a folder, not an audio file. Name a file in it.")
    if not os.path.isfile(path):
        broken = os.path.islink(path) and not os.path.exists(path)
        target = f" It is a link to {os.readlink(path)}, which is missing." if broken else ""
        raise DataError(f"{path}: there is no such file.{target}")
    try:
        file = _open(path)
    except soundfile.LibsndfileError as error:
        reason = error.error_string.rstrip(".")
        raise DataError(f"{path}: is not an audio file that can be read: {reason}. Convert it to .wav.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}. Check its permissions.") from error
    except (TypeError, ValueError) as error:  # TypeError: a raw file, which has no header
        raise DataError(f"{path}: is not an audio file that can be read: {error}. Convert it to .wav.") from error
    try:
        _check_whole(file, path)
    except DataError:
        file.close()
        raise
    return file


def _open(path: StrPath) -> soundfile.SoundFile:
    header = read_header(path)
    if header is None:
        flac = flac_length(path)
        return _AudioBytes(path, PatchedFlac(path, flac)) if flac and flac.found > flac.declared else _AudioFile(path)
    if header.cut_off:
        assert header.declared is not None
        raise DataError(
            f"{path}: is cut off: it has {header.available:,} of the {header.declared:,} bytes of audio that its "
            f"header declares ({header.duration(header.available)} of {header.duration(header.declared)}). Copy or "
            "record it again."
        )
    if header.encoding.subtype and (header.follows or header.unlike_libsndfile):
        return _Samples(path, header)
    return _AudioFile(path)


class _AudioFile(soundfile.SoundFile):  # type: ignore[misc]
    """Open audio file whose name may contain any bytes; soundfile alone rejects names that are not valid text."""

    def __init__(self, path: StrPath, *arguments: Any) -> None:
        self._path = os.fspath(path)
        super().__init__(*(arguments or (native(path),)))

    @property
    def name(self) -> str:
        """Path of the file."""
        return self._path


class _AudioBytes(_AudioFile):
    """Open audio file that libsndfile would misread, and therefore reads through a file object, `content`."""

    def __init__(self, path: StrPath, content: Span, *arguments: Any) -> None:
        self._bytes = content
        try:
            super().__init__(path, content, "r", *arguments)
        except BaseException:
            content.close()
            raise

    def close(self) -> None:
        """Close the file."""
        super().close()
        self._bytes.close()


class _Samples(_AudioBytes):
    """Open audio file whose header libsndfile would misread, and which it therefore reads as samples without one."""

    def __init__(self, path: StrPath, header: Header) -> None:
        rate, channels, subtype = header.encoding.sample_rate, header.encoding.channels, header.encoding.subtype
        content = Span(path, header.start, header.stop)
        super().__init__(path, content, rate, channels, subtype, header.encoding.endian, "RAW")
        self._container = header.container

    @property
    def format(self) -> str:
        """Name of the container format; libsndfile's own would be RAW."""
        return self._container


def read_blocks(file: soundfile.SoundFile, size: int = 1 << 16) -> Iterator[Tensor]:
    """Read an open file from beginning to end, as float32 blocks (channels, time) of at most `size` samples.

    Raises:
        DataError: as for `read_piece`, when the block is read.
    """
    for start in range(0, file.frames, size):
        yield read_piece(file, start, min(start + size, file.frames))


def read_piece(file: soundfile.SoundFile, start: int, stop: int) -> Tensor:
    """Read samples from start to stop (excluded) of an open file as float32 (channels, time), full scale +-1.

    Raises:
        DataError: if the samples lie outside the file, cannot be decoded, or contain NaN or infinity.
    """
    if not 0 <= start <= stop <= file.frames:
        raise DataError(
            f"{file.name}: has {file.frames} samples, but samples {start} to {stop} were requested. Request a part of "
            "the file, with the start before the stop."
        )
    try:
        file.seek(start)
        audio = torch.from_numpy(file.read(stop - start, dtype="float32", always_2d=True).T)
    except (soundfile.LibsndfileError, MemoryError) as error:
        raise DataError(
            f"{file.name}: samples {start} to {stop} cannot be read: {str(error).rstrip('.')}. If the file is damaged, "
            "copy or record it again."
        ) from error
    if audio.shape[1] != stop - start:
        raise DataError(
            f"{file.name}: ends at sample {start + audio.shape[1]}, but its header declares {file.frames}. Copy or "
            "record it again."
        )
    check_finite(audio, file.name, start)
    return audio.contiguous()


def _check_whole(file: soundfile.SoundFile, path: StrPath) -> None:
    if file.samplerate not in RATES:
        raise DataError(
            f"{path}: its header declares {file.samplerate} Hz, which is outside {RATES[0]:,} to {RATES[-1]:,} Hz. The "
            "file is damaged, or is not audio. Copy or record it again."
        )
    if file.frames == 0:
        raise DataError(f"{path}: holds no audio. Copy or record it again.")
    if file.frames == _NOT_DECLARED:
        raise DataError(f"{path}: does not declare its length, as if written to a pipe. Decode and encode it again.")
    try:
        file.seek(file.frames - 1)
    except soundfile.LibsndfileError as error:
        raise DataError(
            f"{path}: is cut off or damaged: its last sample cannot be read. Copy or record it again."
        ) from error
