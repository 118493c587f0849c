"""The recurrence of a diagonal state-space layer, sample by sample: without matrices that a short call had to make."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from nablafx_core.kernels.compiled import compiled
from nablafx_models.kernels.carry import array

Array = np.ndarray[Any, Any]

#: Channels that go through the samples side by side; so many that the compiler makes vectors of them.
_LANES = 16
#: Of each state its decay, its readout and its value, real and imaginary parts, each for all lanes.
_ROWS = 6


def in_samples(u: Tensor, state: Tensor, decay: Array, readout: Array, direct: Tensor) -> tuple[Tensor, Tensor]:
    """s[t] = a s[t-1] + u[t],  y[t] = 2 Re sum over n of C'_n s_n[t] + D u[t], without gradients.

    Args:
        u: (batch, channels, time), on the CPU.
        state: s before the first sample, (batch, channels, states, 2), float64.
        decay: a, (channels, states), complex128.
        readout: C', like it.
        direct: D, (channels,).

    Returns:
        y, of which a channel's items lie together in memory, and s after the last sample.
    """
    after = state.clone(memory_format=torch.contiguous_format)
    y = u.new_empty(u.shape[1], u.shape[0], u.shape[2])
    _run(array(u.transpose(0, 1)), decay, readout, array(direct), array(after), array(y))  # type: ignore[no-untyped-call]
    return y.transpose(0, 1), after


@compiled
def _run(u, decay, readout, direct, state, y):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    channels, batch, time = u.shape
    states = decay.shape[1]
    kept, x, total = np.zeros(states * _ROWS * _LANES), np.zeros(2 * _LANES), np.zeros(2 * _LANES)
    for first in range(0, channels, _LANES):
        count = min(_LANES, channels - first)
        for b in range(batch):
            for i in range(count):
                c = first + i
                for n in range(states):
                    here = n * _ROWS * _LANES + i
                    kept[here], kept[here + _LANES] = decay[c, n].real, decay[c, n].imag
                    kept[here + 2 * _LANES], kept[here + 3 * _LANES] = 2 * readout[c, n].real, -2 * readout[c, n].imag
                    kept[here + 4 * _LANES], kept[here + 5 * _LANES] = state[b, c, n, 0], state[b, c, n, 1]
            for start in range(0, time, 2):
                samples = min(2, time - start)
                for t in range(samples):
                    for i in range(count):
                        x[t * _LANES + i] = u[first + i, b, start + t]
                        total[t * _LANES + i] = direct[first + i] * u[first + i, b, start + t]
                if samples == 2:
                    _two_steps(kept, states, x, total)  # type: ignore[no-untyped-call]
                else:
                    _step(kept, states, x, total)  # type: ignore[no-untyped-call]
                for t in range(samples):
                    for i in range(count):
                        y[first + i, b, start + t] = total[t * _LANES + i]
            for i in range(count):
                for n in range(states):
                    here = n * _ROWS * _LANES + i
                    state[b, first + i, n, 0], state[b, first + i, n, 1] = (
                        kept[here + 4 * _LANES],
                        kept[here + 5 * _LANES],
                    )


@compiled
def _step(kept, states, x, total):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """One sample of `_LANES` channels."""
    here = 0
    for _ in range(states):
        for i in range(here, here + _LANES):
            a, w, re, im = kept[i], kept[i + _LANES], kept[i + 4 * _LANES], kept[i + 5 * _LANES]
            re, im = a * re - w * im + x[i - here], a * im + w * re
            kept[i + 4 * _LANES], kept[i + 5 * _LANES] = re, im
            total[i - here] += kept[i + 2 * _LANES] * re + kept[i + 3 * _LANES] * im
        here += _ROWS * _LANES


@compiled
def _two_steps(kept, states, x, total):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Two samples, for which each state is read and written once."""
    here = 0
    for _ in range(states):
        for i in range(here, here + _LANES):
            lane = i - here
            a, w, p, q = kept[i], kept[i + _LANES], kept[i + 2 * _LANES], kept[i + 3 * _LANES]
            re, im = kept[i + 4 * _LANES], kept[i + 5 * _LANES]
            re, im = a * re - w * im + x[lane], a * im + w * re
            first = total[lane] + (p * re + q * im)
            re, im = a * re - w * im + x[lane + _LANES], a * im + w * re
            second = total[lane + _LANES] + (p * re + q * im)
            kept[i + 4 * _LANES], kept[i + 5 * _LANES] = re, im
            total[lane], total[lane + _LANES] = first, second
        here += _ROWS * _LANES
