"""The phase of an oscillator whose rate may move."""

from __future__ import annotations

import torch
from torch import Tensor

from nablafx_core.interfaces import Start


def phases(rate_hz: Tensor, sample_rate: float, start: Tensor, time: int) -> tuple[Tensor, Tensor]:
    """Integrate a rate: p[n+1] = p[n] + rate_hz[n] / sample_rate, in float64, so that it stays exact over hours.

    Args:
        rate_hz: rate in Hz, (batch, 1) or (batch, time).
        sample_rate: sample rate in Hz.
        start: p[0] in cycles, (batch,).
        time: number of samples.

    Returns:
        p in cycles, (batch, time), and the next phase in [0, 1), (batch,).
    """
    step = (rate_hz.double() / sample_rate).expand(-1, time)
    ends = start.to(step.device)[:, None] + torch.cumsum(step, dim=1)
    return ends - step, ends[:, -1] % 1 if time else start


def phase_at(rate_hz: Tensor, sample_rate: float, start: Start) -> Tensor:
    """Return the phase of an oscillator that started with the file, at phase 0, and has had this rate since.

    p = start rate_hz / sample_rate

    Args:
        rate_hz: rate in Hz, (batch,).
        sample_rate: sample rate in Hz.
        start: position in the file, in samples; an int, or an integer tensor (batch,).

    Returns:
        The phase in cycles, in [0, 1), (batch,), float64.
    """
    return start * (rate_hz.double() / sample_rate) % 1
