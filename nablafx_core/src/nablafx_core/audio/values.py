"""Checks of samples and paths, shared by reading and writing."""

from __future__ import annotations

import math
import os

import torch
from torch import Tensor

from nablafx_core.errors import DataError

StrPath = str | os.PathLike[str]


def native(path: StrPath) -> str | bytes:
    """Return a path for libsndfile: as bytes on systems where file names are bytes, so that any name works."""
    return os.fspath(path) if os.name == "nt" else os.fsencode(path)


def check_finite(audio: Tensor, path: StrPath, start: int) -> None:
    """Check that no sample is NaN or infinite.

    Args:
        audio: (..., time).
        path: file to name in the error.
        start: position of the first sample of `audio` in the file.

    Raises:
        DataError: if a sample is NaN or infinite; names the file, the first such sample in it, and the number of such
            values in all channels.
    """
    bad = ~torch.isfinite(audio)
    if bad.any():
        first = start + int(bad.reshape(-1, audio.shape[-1]).any(0).int().argmax())
        raise DataError(
            f"{path}: sample {first} is NaN or infinite ({int(bad.sum())} such values). Check the program or the model "
            "that made this audio."
        )


INTEGERS = 100.0
"""Peak, relative to full scale, at or above which samples are assumed to be integers written as floats."""
LARGEST_INTEGER = 1.001 * 2**31
"""Peak above which samples cannot be integers written as floats, not even 32-bit integers."""
_INTEGER_BITS = (15, 23, 31)  # log2 of full scale of integers of 16, 24 and 32 bits


def integer_scale(peak: float) -> int:
    """Return full scale of integers that were written as floats, the divisor that restores a full scale of 1.

    Args:
        peak: largest magnitude of the samples, above 0.

    Returns:
        2^15, 2^23 or 2^31, the smallest that is at least peak / 1.001; for a larger peak, the next power of 2.
    """
    highest = math.ceil(math.log2(peak))
    return int(2 ** next((bits for bits in _INTEGER_BITS if peak <= 1.001 * 2**bits), highest))
