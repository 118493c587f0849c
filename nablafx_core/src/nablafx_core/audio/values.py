"""Checks that reading and writing share."""

from __future__ import annotations

import math
import os

import torch
from torch import Tensor

from nablafx_core.errors import DataError

StrPath = str | os.PathLike[str]


def native(path: StrPath) -> str | bytes:
    """Path as libsndfile opens it; as bytes on systems whose file names are bytes, so that any name works."""
    return os.fspath(path) if os.name == "nt" else os.fsencode(path)


def check_finite(audio: Tensor, path: StrPath, start: int) -> None:
    """Check that no sample is NaN or infinite.

    Args:
        audio: (..., time).
        path: file that the error names.
        start: position of the first sample in the file.

    Raises:
        DataError: if there is one; names the first bad sample and the number of bad samples.
    """
    bad = ~torch.isfinite(audio)
    if bad.any():
        first = start + int(bad.reshape(-1, audio.shape[-1]).any(0).int().argmax())
        raise DataError(f"{path}: sample {first} is NaN or infinite ({int(bad.sum())} such values).")


INTEGERS = 100.0
"""Peak of full scale from which on the samples are taken for integers that were written as floats."""
LARGEST_INTEGER = 1.001 * 2**31
"""Peak above which samples are no integers of 32 bits either."""
_INTEGER_BITS = (15, 23, 31)  # of full scale in integers of 16, 24 and 32 bits


def integer_scale(peak: float) -> int:
    """Return full scale of the integers of 16, 24 or 32 bits, or the power of 2, that have a peak."""
    highest = math.ceil(math.log2(peak))
    return int(2 ** next((bits for bits in _INTEGER_BITS if peak <= 1.001 * 2**bits), highest))
