"""Audio files: what they hold, reading a piece of one, writing one whole."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import soundfile  # type: ignore[import-untyped]
import torch
from torch import Tensor

from nablafx_core.errors import DataError
from nablafx_core.tracking.files import replacing

logger = logging.getLogger(__name__)

StrPath = str | os.PathLike[str]

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


# Extension to container, encoding, and whether it holds values beyond full scale.
_WRITTEN = {
    ".wav": ("WAV", "FLOAT", True),
    ".w64": ("W64", "FLOAT", True),
    ".aiff": ("AIFF", "FLOAT", True),
    ".aif": ("AIFF", "FLOAT", True),
    ".caf": ("CAF", "FLOAT", True),
    ".flac": ("FLAC", "PCM_24", False),
    ".ogg": ("OGG", "VORBIS", False),
    ".mp3": ("MP3", "MPEG_LAYER_III", False),
}


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


def write(path: StrPath, audio: Tensor, sample_rate: int) -> None:
    """Write a file under a temporary name in its folder and rename it, so that no half file is ever seen.

    The extension chooses the format; ``.wav`` is 32-bit float.

    Args:
        path: an existing file is replaced.
        audio: (channels, time) or (time,), full scale +-1.
        sample_rate: Hz.

    Raises:
        DataError: if the folder is missing, the extension is unknown, or the audio holds NaN or infinity.
    """
    path = Path(path)
    if path.suffix.lower() not in _WRITTEN:
        raise DataError(f"{path}: cannot write '{path.suffix}' files. Extensions: {', '.join(_WRITTEN)}.")
    if not path.parent.is_dir():
        raise DataError(f"{path}: there is no folder {path.parent}. Make it first.")
    container, encoding, beyond_full_scale = _WRITTEN[path.suffix.lower()]
    audio = audio.detach().cpu()
    _check_finite(audio, path, 0)
    if not beyond_full_scale and audio.numel() and (peak := float(audio.abs().max())) > 1:
        logger.warning("%s peaks at %.2f of full scale, which %s clips; .wav would not.", path, peak, container)
    try:
        with replacing(path, alone=False) as temporary:
            _encode(temporary, audio, sample_rate, container, encoding)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}.") from error


def _encode(path: Path, audio: Tensor, sample_rate: int, container: str, encoding: str) -> None:
    try:
        soundfile.write(path, audio.float().numpy().T, sample_rate, format=container, subtype=encoding)
    except soundfile.LibsndfileError as error:
        # libsndfile says "System error" of a full disk and of a read-only one; Python says what it is.
        with open(path, "ab") as file:
            file.write(bytes(1 << 16))
        raise OSError(str(error).rstrip(".")) from error


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
    _check_finite(audio, file.name, start)
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


def _check_finite(audio: Tensor, path: StrPath, start: int) -> None:
    bad = ~torch.isfinite(audio)
    if bad.any():
        first = start + int(bad.reshape(-1, audio.shape[-1]).any(0).int().argmax())
        raise DataError(f"{path}: sample {first} is NaN or infinite ({int(bad.sum())} such values).")
