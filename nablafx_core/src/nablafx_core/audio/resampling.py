"""Convert sample rates block by block, so that memory does not grow with the length.

Only this module uses torchaudio; it is imported when it is first needed.
"""

from __future__ import annotations

import importlib
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nablafx_core.errors import DataError

_ZERO_CROSSINGS = 64  # of the sinc on each side; with the two below, the "kaiser_best" filter of resampy
_ROLLOFF = 0.9475937167399596
_BETA = 14.769656459379492
_BLOCK = 1 << 14  # smallest number of input samples that are filtered together
_DENSE = 1 << 20  # torchaudio's filter has a coefficient for each pair of the two reduced rates, and more
_LARGEST_STEP = 200_000  # the filter has 135 coefficients per step, 216 MB in total
_PIECE = 1 << 20  # coefficients that are computed together


def check_ratio(path: str | os.PathLike[str], from_rate: int, to_rate: int) -> None:
    """Check that a file can be resampled: the larger the reduced rates, the larger the filter of `resample`.

    Args:
        path: path of the file, for the message.
        from_rate, to_rate: sample rates in Hz.

    Raises:
        DataError: if a rate, divided by the greatest common divisor of both, is above 200,000.
    """
    factor = math.gcd(from_rate, to_rate)
    if max(from_rate, to_rate) // factor > _LARGEST_STEP:
        raise DataError(
            f"{path}: {from_rate} Hz cannot be resampled to {to_rate} Hz: their greatest common divisor is {factor}, "
            "which needs too large a filter. Check the sample rate in its header."
        )


def resampled_length(num_samples: int, from_rate: int, to_rate: int) -> int:
    """Return the number of samples of a resampled signal, ceil(num_samples to_rate / from_rate)."""
    return -(-num_samples * to_rate // from_rate)


def resample(audio: Tensor, from_rate: int, to_rate: int) -> Tensor:
    """Resample with a band-limited, zero-phase, Kaiser-windowed sinc of 64 zero crossings on each side.

    y[m] = sum_i x[i] g h(g' (i / from_rate - m / to_rate)),  h(t) = sinc(t) kaiser(t / 64),
    g' = 0.9476 min(from_rate, to_rate),  g = g' / from_rate

    kaiser(u) is the Kaiser window on [-1, 1] with beta = 14.77. Output sample m is at the time of input sample
    m from_rate / to_rate, so that nothing is delayed. Computed in float64 on the CPU, block by block: memory beyond
    input and output does not grow with the length. The rates are not checked; see `check_ratio`.

    Args:
        audio: signal, (..., time).
        from_rate, to_rate: sample rates in Hz.

    Returns:
        Signal of shape (..., ceil(time to_rate / from_rate)), in the dtype and on the device of `audio`; `audio` itself
        at equal rates.
    """
    if from_rate == to_rate:
        return audio
    rows = audio.reshape(math.prod(audio.shape[:-1]), audio.shape[-1])
    length = resampled_length(audio.shape[-1], from_rate, to_rate)
    output, done = audio.new_empty(rows.shape[0], length), 0
    pieces = (rows[:, start : start + _BLOCK] for start in range(0, rows.shape[-1], _BLOCK))
    for block in resample_blocks(pieces, from_rate, to_rate):
        output[:, done : done + block.shape[-1]] = block
        done += block.shape[-1]
    return output.reshape(*audio.shape[:-1], length)


def resample_blocks(blocks: Iterable[Tensor], from_rate: int, to_rate: int) -> Iterator[Tensor]:
    """Resample a signal that arrives in blocks, as `resample` does.

    The joined output is the same, bit for bit, for any division of the input into blocks.

    Args:
        blocks: consecutive blocks (channels, time), of any lengths.
        from_rate, to_rate: sample rates in Hz.

    Yields:
        Blocks (channels, time) of the resampled signal, whose lengths do not follow those of the input; at equal
        rates, the input blocks themselves.
    """
    if from_rate == to_rate:
        yield from blocks
        return
    factor = math.gcd(from_rate, to_rate)
    up, down = to_rate // factor, from_rate // factor
    step = max(1, _BLOCK // down) * down  # a whole number of output samples
    context = (_reach(up, down) // (up * down) + 1) * down
    written = 0
    for segment, read in _segments(blocks, step, context):
        output = _filtered(segment, up, down)[:, context // down * up :]
        output = output[:, : min(step // down * up, resampled_length(read, from_rate, to_rate) - written)]
        written += output.shape[-1]
        yield output.to(segment)


def _segments(blocks: Iterable[Tensor], step: int, context: int) -> Iterator[tuple[Tensor, int]]:
    """Cut a signal into segments of `step` samples, each with `context` samples before and after, padded with zeros.

    Yields:
        Segment (channels, step + 2 context), and the number of samples read from `blocks` so far.
    """
    held: list[Tensor] = []
    read, size = 0, step + 2 * context
    for block in blocks:
        held = held or [block.new_zeros(block.shape[0], context)]
        held.append(block)
        read += block.shape[-1]
        if sum(part.shape[-1] for part in held) < size:
            continue
        joined = torch.cat(held, dim=-1)
        while joined.shape[-1] >= size:
            yield joined[:, :size], read
            joined = joined[:, step:]
        held = [joined]
    if held:
        joined = torch.cat(held, dim=-1)
        for start in range(0, joined.shape[-1] - context, step):
            segment = joined[:, start : start + size]
            yield torch.nn.functional.pad(segment, (0, size - segment.shape[-1])), read


def _filtered(audio: Tensor, up: int, down: int) -> Tensor:
    """Resample a signal (channels, time) by up / down, in float64 on the CPU.

    Output sample m is at the time of input sample m down / up.
    """
    signal = audio.double().cpu()
    if up * down > _DENSE:
        return _polyphase(signal, up, down)
    return torch.as_tensor(
        _torchaudio_resample()(
            signal,
            down,
            up,
            lowpass_filter_width=_ZERO_CROSSINGS,
            rolloff=_ROLLOFF,
            resampling_method="sinc_interp_kaiser",
            beta=_BETA,
        )
    )


def _torchaudio_resample() -> Callable[..., Any]:
    try:
        functional = importlib.import_module("torchaudio.functional")
    except OSError:
        # torchaudio's wheel beside a CPU torch lacks its CUDA library; resampling is plain torch and needs none.
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


def _polyphase(audio: Tensor, up: int, down: int) -> Tensor:
    """Compute `_filtered` for large `up` and `down`, for which torchaudio's dense filter would be too large."""
    from scipy.signal import upfirdn  # type: ignore[import-untyped]

    taps, centre = _filter(up, down)
    return torch.from_numpy(upfirdn(taps, audio.numpy(), up, down, axis=-1)[:, centre // down :])


def _reach(up: int, down: int) -> int:
    """Return half the length of the filter, in samples at `up` times the input's rate."""
    return int(_ZERO_CROSSINGS * up * down / (_ROLLOFF * min(up, down)))


@lru_cache(maxsize=4)
def _filter(up: int, down: int) -> tuple[np.ndarray, int]:
    """Return the windowed sinc at `up` times the input's rate, and the index of its centre, a multiple of `down`."""
    from scipy.special import i0  # type: ignore[import-untyped]

    bandwidth, reach = _ROLLOFF * min(up, down), _reach(up, down)
    centre = -(-reach // down) * down
    taps = np.zeros(centre + reach + 1)
    for start in range(centre - reach, len(taps), _PIECE):
        index = np.arange(start, min(start + _PIECE, len(taps))) - centre
        times = index * (bandwidth / (up * down))
        window = i0(_BETA * np.sqrt(1 - (times / _ZERO_CROSSINGS) ** 2)) / i0(_BETA)
        taps[start : start + _PIECE] = np.sinc(times) * window * (bandwidth / down)
    return taps, centre
