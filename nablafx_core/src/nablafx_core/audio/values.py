"""Checks that reading and writing share."""

from __future__ import annotations

import os

import torch
from torch import Tensor

from nablafx_core.errors import DataError

StrPath = str | os.PathLike[str]


def native(path: StrPath) -> str | bytes:
    """A path as libsndfile opens it; its bytes, where the system's names are bytes, so that any name will do."""
    return os.fspath(path) if os.name == "nt" else os.fsencode(path)


def check_finite(audio: Tensor, path: StrPath, start: int) -> None:
    """Check that no sample is NaN or infinite.

    Args:
        audio: (..., time).
        path: the file that the error names.
        start: position of the first sample in the file.

    Raises:
        DataError: naming the first bad sample and how many there are.
    """
    bad = ~torch.isfinite(audio)
    if bad.any():
        first = start + int(bad.reshape(-1, audio.shape[-1]).any(0).int().argmax())
        raise DataError(f"{path}: sample {first} is NaN or infinite ({int(bad.sum())} such values).")
