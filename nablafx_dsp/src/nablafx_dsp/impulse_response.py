"""Read impulse responses from audio files."""

from __future__ import annotations

import os

from torch import Tensor

from nablafx_core.audio.reading import opened, probe, read_piece
from nablafx_core.audio.resampling import check_ratio, resample
from nablafx_core.errors import DataError


def read_impulse_response(path: str | os.PathLike[str], sample_rate: int) -> Tensor:
    """Read the impulse response in an audio file, float32 (taps,), at a sample rate in Hz.

    If the file's sample rate differs, the response is resampled and multiplied by file rate / `sample_rate`:
    convolution sums over samples, and their number per second changes by the inverse ratio.

    Raises:
        DataError: if the file cannot be read as audio, is damaged, has several channels, is silent, contains NaN or
            infinity, or cannot be resampled to the rate.
    """
    check_impulse_response(path)
    with opened(path) as file:
        audio, rate = read_piece(file, 0, file.frames)[0], int(file.samplerate)
    if not bool(audio.any()):
        raise DataError(f"{path}: is silent: all samples are 0. Choose a file with an impulse response.")
    check_ratio(path, rate, sample_rate)
    return resample(audio, rate, sample_rate) * (rate / sample_rate)


def check_impulse_response(path: str | os.PathLike[str]) -> None:
    """Check the properties of a file that `read_impulse_response` will read; its samples are not checked.

    Raises:
        DataError: if the file does not exist, is not audio, is empty or cut off, or has several channels or a sample
            rate outside 1,000 to 1,000,000 Hz.
    """
    channels = probe(path).channels
    if channels != 1:
        raise DataError(f"{path}: has {channels} channels; an impulse response has one. Save one of them as a file.")
