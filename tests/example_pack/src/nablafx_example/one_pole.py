"""A first-order low-pass filter whose cutoff may move."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def one_pole(audio: Tensor, cutoff_hz: Tensor, sample_rate: float, last: Tensor) -> Tensor:
    """Filter a signal by a first-order low-pass.

    y[n] = (1 - a[n]) x[n] + a[n] y[n-1],  a[n] = exp(-2 pi cutoff_hz[n] / sample_rate)

    Computed in log2(time) steps; each step doubles the number of previous samples that a sample sums over.

    Args:
        audio: (batch, time).
        cutoff_hz: cutoff in Hz, (batch, 1) or (batch, time).
        sample_rate: sample rate in Hz.
        last: y[-1], (batch,).
    """
    pole = torch.exp(-2 * math.pi * cutoff_hz / sample_rate).expand_as(audio)
    total, step = (1 - pole) * audio, 1
    while step < audio.shape[1]:
        total = torch.cat([total[:, :step], total[:, step:] + pole[:, step:] * total[:, :-step]], dim=1)
        pole = torch.cat([pole[:, :step], pole[:, step:] * pole[:, :-step]], dim=1)
        step *= 2
    return total + pole * last[:, None]
