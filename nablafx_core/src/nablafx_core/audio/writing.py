"""Write audio files, whole or block by block."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import soundfile  # type: ignore[import-untyped]
import torch
from torch import Tensor

from nablafx_core.audio.values import StrPath, check_finite, native
from nablafx_core.errors import DataError
from nablafx_core.files import replacing

_log = logging.getLogger(__name__)

Bits = Literal["16", "24", "32f"]
"""Sample formats: 16-bit integers, 24-bit integers and 32-bit floats."""

_SUBTYPES: dict[str, tuple[str, int]] = {"16": ("PCM_16", 2), "24": ("PCM_24", 3), "32f": ("FLOAT", 4)}
# Extension to container, default sample format (None: lossy) and the largest file in bytes (None: no limit).
_WRITTEN: dict[str, tuple[str, Bits | None, int | None]] = {
    ".wav": ("WAV", "32f", 1 << 32),
    ".w64": ("W64", "32f", None),
    ".aiff": ("AIFF", "32f", 1 << 31),
    ".aif": ("AIFF", "32f", 1 << 31),
    ".caf": ("CAF", "32f", None),
    ".flac": ("FLAC", "24", None),
    ".ogg": ("OGG", None, None),
    ".mp3": ("MP3", None, None),
}
_LOSSY = {"OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}
_HEADER = 1 << 16  # larger than any header
_BLOCK = 1 << 20  # samples


class _Format(NamedTuple):
    container: str
    subtype: str
    bits: Bits | None


class AudioWriter:
    """Audio file during writing; see `writing`.

    Attributes:
        path: path of the file after writing.
        num_samples: number of samples per channel written so far.
        peak: largest magnitude so far, before rounding; 1 is full scale.
        clipped: number of values beyond full scale so far, over all channels; 0 in a file of floats, which keeps them.
        format: container and encoding in the terms of libsndfile, such as ``"WAV FLOAT"``.
    """

    def __init__(self, path: Path, file: soundfile.SoundFile, written: _Format) -> None:
        self.path = path
        self.num_samples, self.peak, self.clipped = 0, 0.0, 0
        self.format = f"{written.container} {written.subtype}"
        self._file = file
        self._format = written
        self._dither = torch.Generator().manual_seed(0)

    def write(self, audio: Tensor) -> None:
        """Append a block.

        Args:
            audio: (channels, time), full scale +-1.

        Raises:
            DataError: if it contains NaN or infinity; nothing is appended.
        """
        audio = audio.detach().cpu()
        check_finite(audio, self.path, self.num_samples)
        self.num_samples += audio.shape[-1]
        if audio.numel():
            self.peak = max(self.peak, float(audio.abs().max()))
        if self._format.bits != "32f":
            self.clipped += int((audio.abs() > 1).sum())
        self._file.write(self._encoded(audio).T)

    @property
    def clipping(self) -> str | None:
        """Describe the values beyond full scale in a sentence; None if there are none, or if the file has floats."""
        if not self.clipped:
            return None
        fate = "were limited to full scale" if self._format.bits else "are beyond full scale, where most players clip"
        return (
            f"{self.path} peaks at {self.peak:.2f} of full scale in {self.format}: {self.clipped:,} values {fate}. "
            "A .wav of 32-bit floats would keep them."
        )

    def _encoded(self, audio: Tensor) -> np.ndarray:
        bits = self._format.bits
        if bits is None or bits == "32f":
            values: np.ndarray = audio.float().numpy()
            return values
        scaled = audio.double() * 2 ** (int(bits) - 1)
        if bits == "16":
            uniform = torch.rand(*scaled.T.shape, 2, generator=self._dither, dtype=scaled.dtype)
            scaled += (uniform[..., 0] - uniform[..., 1]).T
        limit = 2 ** (int(bits) - 1)
        steps = scaled.round().clamp(-limit, limit - 1).to(torch.int32)
        left_aligned: np.ndarray = (steps * 2 ** (32 - int(bits))).numpy()  # for libsndfile, which expects 32 bits
        return left_aligned


@contextmanager
def writing(
    path: StrPath, sample_rate: int, channels: int, num_samples: int, bits: Bits | None = None
) -> Iterator[AudioWriter]:
    """Write a file block by block under a temporary name in its folder; rename it at the end of the ``with``.

    If the ``with`` block raises, an existing file is left unchanged and no new file is created. The extension selects
    the container. Integers are rounded to the nearest step of 2^-15 or 2^-23, and limited to full scale. At 16 bits,
    triangular dither of +-1 step is added first, so that quiet signals are not distorted; the dither is the same each
    time. A ``.wav`` beyond 4 GiB is written as RF64, which every recent program reads.

    Args:
        path: path of the file; an existing file is replaced.
        sample_rate: sample rate in Hz.
        channels: number of channels in every block.
        num_samples: number of samples per channel that will be written; only used to choose RF64, and to refuse more
            than an AIFF file can hold.
        bits: sample format; if None, 32-bit float where the container supports it, else 24 bits. Must be None for Ogg
            and MP3, which have no sample format.

    Raises:
        DataError: if the folder is missing, the extension or the sample format is unknown, the container does not
            support the sample format, the sample rate, the channels or so much audio, or the file cannot be written,
            for example because the disk is full.
    """
    path = Path(path)
    written = _format(path, channels * num_samples, bits)
    if not path.parent.is_dir():
        raise DataError(f"{path}: the folder {path.parent} does not exist. Create it first.")
    try:
        with replacing(path, alone=False) as temporary, _open(temporary, sample_rate, channels, written) as file:
            yield AudioWriter(path, file, written)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}.") from error


def write(path: StrPath, audio: Tensor, sample_rate: int, bits: Bits | None = None) -> None:
    """Write a whole file as `writing` does; log a warning if values are clipped.

    Args:
        path: path of the file; an existing file is replaced.
        audio: (channels, time) or (time,), full scale +-1.
        sample_rate: sample rate in Hz.
        bits: sample format; see `writing`.

    Raises:
        DataError: as for `writing`, and if the audio contains NaN or infinity.
    """
    audio = audio[None] if audio.ndim == 1 else audio
    with writing(path, sample_rate, audio.shape[0], audio.shape[1], bits) as file:
        for start in range(0, audio.shape[1], _BLOCK):
            file.write(audio[:, start : start + _BLOCK])
    if file.clipping:
        _log.warning("%s", file.clipping)


def _format(path: Path, values: int, bits: Bits | None) -> _Format:
    if path.suffix.lower() not in _WRITTEN:
        raise DataError(f"{path}: cannot write '{path.suffix}' files. Extensions: {', '.join(_WRITTEN)}.")
    container, default, largest = _WRITTEN[path.suffix.lower()]
    if bits is not None and bits not in get_args(Bits):
        raise DataError(f"{path}: unknown sample format '{bits}'. Sample formats: {', '.join(get_args(Bits))}.")
    if bits is not None and (default is None or (container == "FLAC" and bits == "32f")):
        supported = "the sample formats 16 and 24" if container == "FLAC" else "no sample format"
        raise DataError(f"{path}: {container} has {supported}, but '{bits}' was given. Leave it out, or write a .wav.")
    bits = bits or default
    if bits is None:
        return _Format(container, _LOSSY[container], None)
    subtype, size = _SUBTYPES[bits]
    if largest is not None and values * size + _HEADER > largest:
        if container != "WAV":
            raise DataError(
                f"{path}: {container} can hold at most {largest >> 30} GiB; the audio is larger. Write a .wav or .flac."
            )
        container = "RF64"
    return _Format(container, subtype, bits)


@contextmanager
def _open(path: Path, sample_rate: int, channels: int, written: _Format) -> Iterator[soundfile.SoundFile]:
    try:
        with soundfile.SoundFile(
            native(path), "w", sample_rate, channels, format=written.container, subtype=written.subtype
        ) as file:
            yield file
    except soundfile.LibsndfileError as error:
        # libsndfile reports a full disk and a read-only one as "System error"; Python names the cause.
        with open(path, "ab") as rest:
            rest.write(bytes(1 << 16))
        raise OSError(error.error_string.rstrip(".")) from error
