"""Double and halve the sample rate by linear-phase half-band filters in polyphase form."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nablafx_dsp.functional.fir import fir

#: Stop-band attenuation in dB of the design; for a half-band filter it also determines the pass-band ripple.
ATTENUATION_DB = 90.0


class Stage(NamedTuple):
    """One doubling of the sample rate.

    Args:
        up, down: M of the filters on the way up and down, odd. A filter has 2 M + 1 taps and a delay of M samples of
            the higher rate.
    """

    up: int
    down: int


#: The doublings, starting from the rate of the signal. The first passes 5 / 12 of that rate (20 kHz at 48 kHz) and
#: stops the frequencies that would alias onto this band; the others have a wider transition band and are shorter. The
#: delays up and down add up to whole samples of the signal's rate.
STAGES = (Stage(35, 35), Stage(11, 13), Stage(11, 13))


@cache
def half_band(size: int) -> NDArray[np.float64]:
    """Design a half-band low-pass filter by Kaiser's window.

    h[k] = sinc(k / 2) w[k] / 2 for |k| <= size, scaled so that H(0) = 1. Every second tap except the middle one is 0,
    and H(f) + H(1/2 - f) = 1: the error is the same in both bands. The window's beta is Kaiser's formula for
    attenuations above 50 dB.

    Args:
        size: M, odd.

    Returns:
        The non-zero taps, first to last, without the middle one, which is 1 / 2; (size + 1,).
    """
    beta = 0.1102 * (ATTENUATION_DB - 8.7)
    k = np.arange(-size, size + 1, 2)
    taps = np.sinc(k / 2) * np.kaiser(2 * size + 1, beta)[::2] / 2
    return np.asarray(taps * (0.5 / taps.sum()))


def up(audio: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
    """Double the sample rate: keep the samples and interpolate one between each two.

    Sample 2 t + M of the result is sample t of the input. M is odd, so that interpolated samples have even indices.

    Args:
        audio: (batch, time).
        past: the M samples of audio before, (batch, M); its length sets the filter; zeros at the start of a file.

    Returns:
        The output, (batch, 2 time), delayed by M of its own samples, and `past` for the next block.
    """
    size, time = past.shape[-1], audio.shape[-1]
    between, after = fir(audio, 2 * _taps(size, audio), past)
    same = torch.cat([past, audio], dim=-1)[:, (size + 1) // 2 :][:, :time]
    return torch.stack([between, same], dim=-1).flatten(1), after


def down(audio: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
    """Halve the sample rate: filter, and keep the samples with even indices.

    Args:
        audio: (batch, 2 time).
        past: the 2 M samples of audio before, (batch, 2 M), M odd; its length sets the filter; zeros at the start of a
            file.

    Returns:
        The output, (batch, time), delayed by M samples of the higher rate, and `past` for the next block.
    """
    size, time = past.shape[-1] // 2, audio.shape[-1] // 2
    signal = torch.cat([past, audio], dim=-1)
    even, odd = signal[:, ::2], signal[:, 1::2]
    filtered, _ = fir(even[:, size:], _taps(size, audio), even[:, :size])
    return filtered + odd[:, (size - 1) // 2 :][:, :time] / 2, signal[:, 2 * time :]


def _taps(size: int, like: Tensor) -> Tensor:
    return torch.tensor(half_band(size)[None], dtype=like.dtype, device=like.device)
