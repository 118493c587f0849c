"""Audio files: what they hold, and reading a piece of one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import soundfile  # type: ignore[import-untyped]
import torch
from torch import Tensor

from nablafx_core.audio.values import StrPath, check_finite
from nablafx_core.audio.writing import write
from nablafx_core.errors import DataError

__all__ = ["AudioInfo", "StrPath", "open_file", "opened", "probe", "read", "read_blocks", "read_piece", "write"]

RATES = range(1_000, 1_000_001)
"""Sample rates in Hz that a recording can have; a header that says another one is damaged."""


class AudioInfo(NamedTuple):
    """What a file's header says.

    Args:
        num_samples: per channel.
        sample_rate: Hz.
        channels: how many.
        format: container and encoding, such as ``"WAV FLOAT"``.
    """

    num_samples: int
    sample_rate: int
    channels: int
    format: str


def probe(path: StrPath) -> AudioInfo:
    """What a file holds, without reading it.

    Raises:
        DataError: if there is no such file, it is not audio, is empty, ends before its header says, or has a sample
            rate that no recording has.
    """
    with opened(path) as file:
        return AudioInfo(file.frames, file.samplerate, file.channels, f"{file.format} {file.subtype}")


def read(path: StrPath, start: int = 0, stop: int | None = None) -> Tensor:
    """Samples start (included) to stop (excluded, the end if None) as float32 (channels, time), full scale +-1.

    Raises:
        DataError: as `probe`, and if the piece lies outside the file or holds NaN or infinity.
    """
    with opened(path) as file:
        return read_piece(file, start, file.frames if stop is None else stop)


@contextmanager
def opened(path: StrPath) -> Iterator[soundfile.SoundFile]:
    """A checked file, open for the time of a ``with``."""
    with open_file(path) as file:
        yield file


def open_file(path: StrPath) -> soundfile.SoundFile:
    """Open a file for reading; the caller closes it. Errors as in `probe`."""
    if not os.path.isfile(path):
        raise DataError(f"{path}: there is no such file.")
    try:
        file = soundfile.SoundFile(path)
    except soundfile.LibsndfileError as error:
        raise DataError(f"{path}: is not an audio file that can be read: {error.error_string}") from error
    except (OSError, TypeError, ValueError) as error:  # TypeError: a raw file, which has no header
        raise DataError(f"{path}: is not an audio file that can be read: {error}") from error
    try:
        _check_whole(file, path)
    except DataError:
        file.close()
        raise
    return file


def read_blocks(file: soundfile.SoundFile, size: int = 1 << 16) -> Iterator[Tensor]:
    """An open file from its beginning to its end, as blocks (channels, time) of `size` samples; see `read`."""
    for start in range(0, file.frames, size):
        yield read_piece(file, start, min(start + size, file.frames))


def read_piece(file: soundfile.SoundFile, start: int, stop: int) -> Tensor:
    """Samples start to stop of an open file as float32 (channels, time); see `read`."""
    if not 0 <= start <= stop <= file.frames:
        raise DataError(f"{file.name}: has {file.frames} samples; samples {start} to {stop} were asked for.")
    try:
        file.seek(start)
        audio = torch.from_numpy(file.read(stop - start, dtype="float32", always_2d=True).T)
    except (soundfile.LibsndfileError, MemoryError) as error:
        raise DataError(f"{file.name}: is damaged between samples {start} and {stop}: {error}") from error
    if audio.shape[1] != stop - start:
        raise DataError(f"{file.name}: ends at sample {start + audio.shape[1]} though its header says {file.frames}.")
    check_finite(audio, file.name, start)
    return audio.contiguous()


def _check_whole(file: soundfile.SoundFile, path: StrPath) -> None:
    # libsndfile shortens `frames` of a cut-off WAV or AIFF to what is there and mentions it in its log only. A length
    # near 2^31 or 2^32 stands for "not known": the file was written to a pipe.
    told = re.search(r"(?:data|SSND)\s*: (\d+) \(should be (\d+)\)", file.extra_info)
    if told and int(told[2]) < int(told[1]) < 0x7FFF0000:
        raise DataError(f"{path}: is cut off: {told[2]} bytes of audio of the {told[1]} that its header says.")
    if file.samplerate not in RATES:
        raise DataError(
            f"{path}: its header says {file.samplerate} Hz, which no recording has. It is damaged, or no audio."
        )
    if file.frames == 0:
        raise DataError(f"{path}: holds no audio.")
    try:
        file.seek(file.frames - 1)
    except soundfile.LibsndfileError as error:
        raise DataError(f"{path}: is cut off or damaged: its last sample cannot be reached.") from error
