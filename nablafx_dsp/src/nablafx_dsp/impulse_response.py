"""Read impulse responses from audio files."""

from __future__ import annotations

import os

from torch import Tensor

from nablafx_core.audio.reading import opened, probe, read_piece
from nablafx_core.audio.resampling import check_ratio, resample
from nablafx_core.errors import DataError


def read_impulse_response(path: str | os.PathLike[str], sample_rate: int) -> Tensor:
    """Read the impulse response in a file, (taps,), at a sample rate.

    If the file's sample rate differs, the response is resampled and scaled by the ratio of the rates: convolution sums
    over samples, and their number per second changes by that ratio.

    Raises:
        DataError: if the file cannot be read, has several channels, or is silent.
    """
    check_impulse_response(path)
    with opened(path) as file:
        audio, rate = read_piece(file, 0, file.frames)[0], int(file.samplerate)
    if not bool(audio.any()):
        raise DataError(f"{path}: is silent. Choose a file with an impulse response.")
    check_ratio(path, rate, sample_rate)
    return resample(audio, rate, sample_rate) * (rate / sample_rate)


def check_impulse_response(path: str | os.PathLike[str]) -> None:
    """Raise an error if a file cannot be an impulse response, without reading all of it.

    Raises:
        DataError: if the file cannot be read or has several channels.
    """
    channels = probe(path).channels
    if channels != 1:
        raise DataError(f"{path}: has {channels} channels; an impulse response has one. Save a single channel.")
