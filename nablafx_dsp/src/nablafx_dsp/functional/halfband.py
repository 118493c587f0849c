"""Twice the sample rate and half of it, by half-band filters of linear phase in two phases."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nablafx_dsp.functional.fir import fir

#: Attenuation in dB for which the filters are designed; of a half-band filter it says the ripple as well.
ATTENUATION_DB = 90.0


class Stage(NamedTuple):
    """One doubling of the rate.

    Args:
        up, down: M of the filters, which have 2 M + 1 taps and delay by M samples of the higher rate; odd.
    """

    up: int
    down: int


#: The doublings, from the rate of the signal on. The first passes 5 / 12 of that rate (20 kHz at 48 kHz) and stops what
#: would fold onto it; the others, with more room between, are shorter. The delays of each add up to whole samples of
#: the signal's rate, and all of the delay is look-ahead that is used.
STAGES = (Stage(35, 35), Stage(11, 13), Stage(11, 13))


@cache
def half_band(size: int) -> NDArray[np.float64]:
    """A half-band low-pass by Kaiser's window.

    h[k] = sinc(k / 2) w[k] / 2 for |k| <= size, scaled so that H(0) = 1. Every second tap but the middle one is 0, and
    H(f) + H(1/2 - f) = 1: its error is the same in both bands.

    Args:
        size: M, odd.

    Returns:
        The taps that are not 0 but for the middle one, which is 1 / 2, first to last; (size + 1,).
    """
    beta = 0.1102 * (ATTENUATION_DB - 8.7)
    k = np.arange(-size, size + 1, 2)
    taps = np.sinc(k / 2) * np.kaiser(2 * size + 1, beta)[::2] / 2
    return np.asarray(taps * (0.5 / taps.sum()))


def up(audio: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
    """Double the rate: between the samples, which stay as they are, come those of the filter.

    Of the result, sample 2 t + M is input sample t; M is odd, and those that the filter makes have even numbers.

    Args:
        audio: (batch, time).
        past: the M samples before, (batch, M); at a file's start zeros.

    Returns:
        (batch, 2 time), and the past for what follows.
    """
    size, time = past.shape[-1], audio.shape[-1]
    between, after = fir(audio, 2 * _taps(size, audio), past)
    same = torch.cat([past, audio], dim=-1)[:, (size + 1) // 2 :][:, :time]
    return torch.stack([between, same], dim=-1).flatten(1), after


def down(audio: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
    """Halve the rate: filter, and keep the samples with even numbers.

    Args:
        audio: (batch, 2 time).
        past: the 2 M samples before, (batch, 2 M); at a file's start zeros.

    Returns:
        (batch, time), delayed by M samples of the higher rate, and the past for what follows.
    """
    size, time = past.shape[-1] // 2, audio.shape[-1] // 2
    signal = torch.cat([past, audio], dim=-1)
    even, odd = signal[:, ::2], signal[:, 1::2]
    filtered, _ = fir(even[:, size:], _taps(size, audio), even[:, :size])
    return filtered + odd[:, (size - 1) // 2 :][:, :time] / 2, signal[:, 2 * time :]


def _taps(size: int, like: Tensor) -> Tensor:
    return torch.tensor(half_band(size)[None], dtype=like.dtype, device=like.device)
