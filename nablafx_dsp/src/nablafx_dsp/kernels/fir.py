"""Correlation on the CPU: the sums of products of a finite impulse response and its gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from nablafx_core.kernels.compiled import compiled
from nablafx_core.kernels.pool import for_each
from nablafx_core.kernels.simd import add, broadcast, fma, full, load, store

#: Number of samples that are computed together, and number of terms that are summed in float32 before they are added to
#: the total: partial sums lose less precision.
TILE, TERMS = 64, 128

_ZERO = np.float32(0)


def correlate(signal: Tensor, weights: Tensor) -> Tensor:
    """Compute y[i] = sum over j of weights[j] signal[i + j], for each i for which all terms exist.

    The terms are added in the same order for every i, so that a signal cut into blocks gives the same bits.

    Args:
        signal: (batch, n + taps - 1), float32 or float64.
        weights: (batch, taps), or (1, taps) for all items, of the same dtype.

    Returns:
        (batch, n).
    """
    batch, taps = signal.shape[0], weights.shape[1]
    count = signal.shape[1] - taps + 1
    padded = -(-count // TILE) * TILE
    room = signal.new_zeros(batch, padded + taps - 1)
    room[:, : signal.shape[1]] = signal
    output = signal.new_empty(batch, padded)
    rows, out = room.numpy(), output.numpy()
    terms = weights.contiguous().numpy()
    kernel = _single if signal.dtype == torch.float32 else _double
    for_each(batch, lambda item: kernel(rows[item], terms[item if len(terms) > 1 else 0], out[item]))
    return output[:, :count]


@compiled
def _single(signal: Any, weights: Any, output: Any) -> None:
    taps = weights.shape[0]
    for start in range(0, output.shape[0], TILE):
        a = b = c = d = full(_ZERO, 16)
        for first in range(0, taps, TERMS):
            e = f = g = h = full(_ZERO, 16)
            for j in range(first, min(first + TERMS, taps)):
                weight = broadcast(weights, j, 16)
                e = fma(weight, load(signal, start + j, 16), e)
                f = fma(weight, load(signal, start + j + 16, 16), f)
                g = fma(weight, load(signal, start + j + 32, 16), g)
                h = fma(weight, load(signal, start + j + 48, 16), h)
            a, b, c, d = add(a, e), add(b, f), add(c, g), add(d, h)
        store(output, start, a)
        store(output, start + 16, b)
        store(output, start + 32, c)
        store(output, start + 48, d)


@compiled
def _double(signal: Any, weights: Any, output: Any) -> None:
    for start in range(0, output.shape[0], TILE):
        total = output[start : start + TILE]
        total[:] = 0
        for j in range(weights.shape[0]):
            weight, shifted = weights[j], signal[start + j : start + j + TILE]
            for i in range(TILE):
                total[i] += weight * shifted[i]
