"""Rational functions and their gradients, elementwise, in pieces that stay in the fastest cache."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from nablafx_core.kernels.compiled import compiled
from nablafx_core.kernels.threads import for_each

#: Elements of a piece.
PIECE = 256

#: Elements for which a thread is worth its while.
_SHARE = 1 << 16


def forward(x: Tensor, numerator: Tensor, weights: Tensor) -> Tensor:
    """P(x) / Q(x), P with coefficients from x^0 on, Q = 1 + sum over j from 1 of weights_j |x|^j.

    Args:
        x: of any shape, float32 or float64.
        numerator: (degree + 1,), of the same type.
        weights: (degree,), not negative.
    """
    x = x.contiguous()
    output = torch.empty_like(x)
    signal, out = x.view(-1).numpy(), output.view(-1).numpy()
    p, q, parts = numerator.numpy(), weights.numpy(), _parts(len(signal))
    for_each(len(parts), lambda n: _forward(signal[parts[n]], p, q, out[parts[n]]))
    return output


def backward(gradient: Tensor, x: Tensor, numerator: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients for x, the numerator and the weights.

    With u = g / Q and v = -g P / Q^2::

        dx = u P'(x) + v sign(x) Q'(|x|);   dp_i = sum of u x^i;   dw_j = sum of v |x|^j

    Args:
        gradient: g, of x's shape.
        x, numerator, weights: what `forward` was given.
    """
    x, gradient = x.contiguous(), gradient.contiguous()
    of_x = torch.empty_like(x)
    signal, g, out = (t.view(-1).numpy() for t in (x, gradient, of_x))
    p, q, parts = numerator.numpy(), weights.numpy(), _parts(len(signal))
    sums = np.zeros((len(parts), len(p) + len(q)))
    for_each(len(parts), lambda n: _backward(g[parts[n]], signal[parts[n]], p, q, out[parts[n]], sums[n]))
    totals = torch.from_numpy(sums.sum(axis=0)).to(x.dtype)
    return of_x, totals[: len(p)], totals[len(p) :]


def _parts(count: int) -> list[slice]:
    """A part of the elements for each thread, in whole pieces."""
    threads = max(1, min(torch.get_num_threads(), count // _SHARE))
    size = -(-count // (threads * PIECE)) * PIECE
    return [slice(start, min(start + size, count)) for start in range(0, count, max(size, 1))]


@compiled
def _forward(signal: Any, numerator: Any, weights: Any, output: Any) -> None:
    size, q = np.empty(PIECE, signal.dtype), np.empty(PIECE, signal.dtype)
    one = signal.dtype.type(1)
    for start in range(0, signal.shape[0], PIECE):
        x, p = signal[start : start + PIECE], output[start : start + PIECE]
        count = x.shape[0]
        for i in range(count):
            size[i], p[i], q[i] = abs(x[i]), numerator[-1], 0
        for n in range(numerator.shape[0] - 2, -1, -1):
            c = numerator[n]
            for i in range(count):
                p[i] = p[i] * x[i] + c
        for n in range(weights.shape[0] - 1, -1, -1):
            c = weights[n]
            for i in range(count):
                q[i] = q[i] * size[i] + c
        for i in range(count):
            p[i] = p[i] / (q[i] * size[i] + one)


@compiled
def _backward(gradient: Any, signal: Any, numerator: Any, weights: Any, output: Any, sums: Any) -> None:
    dtype, terms = signal.dtype, numerator.shape[0]
    total = np.zeros((sums.shape[0], PIECE), dtype)
    size, p, dp, q, dq = (np.empty(PIECE, dtype), np.empty(PIECE, dtype), np.empty(PIECE, dtype),
                          np.empty(PIECE, dtype), np.empty(PIECE, dtype))  # fmt: skip
    one = dtype.type(1)
    for start in range(0, signal.shape[0], PIECE):
        x, g, out = signal[start : start + PIECE], gradient[start : start + PIECE], output[start : start + PIECE]
        count = x.shape[0]
        for i in range(count):
            size[i], p[i], dp[i], q[i], dq[i] = abs(x[i]), numerator[-1], 0, 0, 0
        for n in range(terms - 2, -1, -1):
            c = numerator[n]
            for i in range(count):
                dp[i] = dp[i] * x[i] + p[i]
                p[i] = p[i] * x[i] + c
        for n in range(weights.shape[0] - 1, -1, -1):
            c = weights[n]
            for i in range(count):
                dq[i] = dq[i] * size[i] + q[i]
                q[i] = q[i] * size[i] + c
        for i in range(count):  # the constant term of Q
            dq[i] = dq[i] * size[i] + q[i]
            u = g[i] / (q[i] * size[i] + one)
            v = -u * p[i] / (q[i] * size[i] + one)
            out[i] = u * dp[i] + v * np.sign(x[i]) * dq[i]
            p[i], q[i] = u, v * size[i]
        for n in range(terms):
            row = total[n]
            for i in range(count):
                row[i] += p[i]
                p[i] = p[i] * x[i]
        for n in range(terms, sums.shape[0]):
            row = total[n]
            for i in range(count):
                row[i] += q[i]
                q[i] = q[i] * size[i]
    for n in range(sums.shape[0]):
        for i in range(PIECE):
            sums[n] += total[n, i]
