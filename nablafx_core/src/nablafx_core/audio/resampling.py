"""Changing the sample rate: the one place that uses torchaudio, imported when a rate differs."""

from __future__ import annotations

import importlib
import math
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from nablafx_core.errors import DataError

_LARGEST_FILTER = 40_000_000  # its coefficients take a gigabyte while they are made


def check_ratio(path: str | os.PathLike[str], from_rate: int, to_rate: int) -> None:
    """Check that a file can be resampled: a filter has the more coefficients, the smaller the rates' common factor.

    Raises:
        DataError: naming the file.
    """
    factor = math.gcd(from_rate, to_rate)
    if from_rate // factor * (to_rate // factor) > _LARGEST_FILTER:
        raise DataError(
            f"{path}: {from_rate} Hz cannot be turned into {to_rate} Hz: their largest common factor is {factor}. "
            "Is its header right?"
        )


def resample(audio: Tensor, from_rate: int, to_rate: int) -> Tensor:
    """Band-limited, zero-phase resampling with a Kaiser-windowed sinc of 64 zero crossings a side.

    Output sample m stands at the time of input sample m from_rate / to_rate, so that nothing is delayed. The
    length is ceil(time to_rate / from_rate). Computed in float64.

    Args:
        audio: (..., time).
        from_rate, to_rate: Hz.

    Returns:
        (..., ceil(time to_rate / from_rate)), in the dtype of `audio`; `audio` itself at equal rates.
    """
    if from_rate == to_rate:
        return audio
    resampled = _torchaudio_resample()(
        audio.double(),
        from_rate,
        to_rate,
        lowpass_filter_width=64,
        rolloff=0.9475937167399596,
        resampling_method="sinc_interp_kaiser",
        beta=14.769656459379492,
    )
    return torch.as_tensor(resampled, dtype=audio.dtype)


def _torchaudio_resample() -> Callable[..., Any]:
    try:
        functional = importlib.import_module("torchaudio.functional")
    except OSError:
        # torchaudio's wheel beside a CPU torch misses its CUDA library; resampling is plain torch and needs none.
        for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
            del sys.modules[name]
        sys.modules["torchaudio._extension"] = _extension()
        functional = importlib.import_module("torchaudio.functional")
    resampler: Callable[..., Any] = functional.resample
    return resampler


def _extension() -> ModuleType:
    def unavailable(*arguments: Any, **keywords: Any) -> Any:
        raise RuntimeError("torchaudio's compiled extension could not be loaded on this machine")

    extension = ModuleType("torchaudio._extension")
    vars(extension).update(
        _IS_TORCHAUDIO_EXT_AVAILABLE=False,
        fail_if_no_align=lambda function: unavailable,
        _check_cuda_version=lambda: None,
        _load_lib=lambda name: False,
    )
    return extension
