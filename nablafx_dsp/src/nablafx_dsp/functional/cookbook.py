"""Coefficients of the standard second-order filters.

Robert Bristow-Johnson, "Cookbook formulae for audio EQ biquad filter coefficients" (W3C Note, 2021); the shelves in
their form with Q.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from nablafx_dsp.functional.biquad import wide_dtype

#: A filter's six numbers b0, b1, b2, a0, a1, a2 from cos(w0), alpha and A = 10^(gain_db / 40).
Formula = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, ...]]


def _lowpass(c: Tensor, alpha: Tensor, a: Tensor) -> tuple[Tensor, ...]:
    return (1 - c) / 2, 1 - c, (1 - c) / 2, 1 + alpha, -2 * c, 1 - alpha


def _highpass(c: Tensor, alpha: Tensor, a: Tensor) -> tuple[Tensor, ...]:
    return (1 + c) / 2, -(1 + c), (1 + c) / 2, 1 + alpha, -2 * c, 1 - alpha


def _peaking(c: Tensor, alpha: Tensor, a: Tensor) -> tuple[Tensor, ...]:
    return 1 + alpha * a, -2 * c, 1 - alpha * a, 1 + alpha / a, -2 * c, 1 - alpha / a


def _lowshelf(c: Tensor, alpha: Tensor, a: Tensor) -> tuple[Tensor, ...]:
    up, down, slope = a + 1, a - 1, 2 * a.sqrt() * alpha
    b = a * (up - down * c + slope), 2 * a * (down - up * c), a * (up - down * c - slope)
    return *b, up + down * c + slope, -2 * (down + up * c), up + down * c - slope


def _highshelf(c: Tensor, alpha: Tensor, a: Tensor) -> tuple[Tensor, ...]:
    up, down, slope = a + 1, a - 1, 2 * a.sqrt() * alpha
    b = a * (up + down * c + slope), -2 * a * (down + up * c), a * (up + down * c - slope)
    return *b, up - down * c + slope, 2 * (down - up * c), up - down * c - slope


FORMULAS: dict[str, Formula] = {
    "peaking": _peaking,
    "lowpass": _lowpass,
    "highpass": _highpass,
    "lowshelf": _lowshelf,
    "highshelf": _highshelf,
}

#: The highest frequency of a filter, in parts of the sample rate; what is above is clamped to it.
HIGHEST = 0.49


def biquad_coefficients(
    type: str, cutoff_hz: Tensor, q: Tensor, sample_rate: float, gain_db: Tensor | None = None
) -> Tensor:
    """Coefficients of one filter, normalised to a0 = 1, computed in float64.

    w0 = 2 pi cutoff_hz / sample_rate,  alpha = sin(w0) / (2 q),  A = 10^(gain_db / 40)

    Args:
        type: a key of `FORMULAS`.
        cutoff_hz: (batch,) or (batch, time); above 0.49 of the sample rate it counts as 0.49 of it.
        q: (batch,) or (batch, time), above 0.
        sample_rate: Hz.
        gain_db: (batch,) or (batch, time); for peaking filters and shelves.

    Returns:
        b0, b1, b2, a1, a2: (batch, 5, time), or (batch, 5, 1) where nothing moves.
    """
    wide = wide_dtype(cutoff_hz.device)
    w0 = 2 * math.pi / sample_rate * _framed(cutoff_hz, wide).clamp(max=HIGHEST * sample_rate)
    alpha = w0.sin() / (2 * _framed(q, wide))
    amplitude = torch.ones_like(w0) if gain_db is None else 10 ** (_framed(gain_db, wide) / 40)
    b0, b1, b2, a0, a1, a2 = FORMULAS[type](w0.cos(), alpha, amplitude)
    frames = (b0 + a0).shape
    return torch.stack([(number / a0).expand(frames) for number in (b0, b1, b2, a1, a2)], dim=1)


def _framed(parameter: Tensor, dtype: torch.dtype) -> Tensor:
    return parameter.to(dtype).reshape(parameter.shape[0], -1)
