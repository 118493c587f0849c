"""Compute rational functions and their gradients elementwise, in pieces that fit into the fastest cache."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nablafx_core.kernels.compiled import compiled
from nablafx_core.kernels.pool import for_each

#: Number of elements in a piece.
PIECE = 256

#: Smallest number of elements for which another thread saves time.
_SHARE = 1 << 16


def forward(x: Tensor, numerator: Tensor, weights: Tensor) -> Tensor:
    """Compute P(x) / Q(x) with P = sum over i of numerator_i x^i and Q = 1 + sum over j from 1 of weights_j |x|^j.

    Args:
        x: values of any shape, float32 or float64.
        numerator: coefficients of P from x^0 on, (degree + 1,), of the same dtype.
        weights: coefficients of Q from |x|^1 on, (degree,), of the same dtype, not negative.
    """
    x = x.contiguous()
    output = torch.empty_like(x)
    signal, out = x.view(-1).numpy(), output.view(-1).numpy()
    p, q, parts = numerator.numpy(), weights.numpy(), _parts(len(signal))
    limit = far_from_zero(np.finfo(signal.dtype).max)
    for_each(len(parts), lambda n: _forward(signal[parts[n]], p, q, out[parts[n]], limit))
    return output


def backward(gradient: Tensor, x: Tensor, numerator: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of x, the numerator and the weights, each in the shape of its argument.

    With u = g / Q and v = -g P / Q^2::

        dx = u P'(x) + v sign(x) Q'(|x|);   dp_i = sum of u x^i;   dw_j = sum of v |x|^j

    Args:
        gradient: gradient g of the output, in the shape of x.
        x, numerator, weights: arguments of `forward`.
    """
    x, gradient = x.contiguous(), gradient.contiguous()
    of_x = torch.empty_like(x)
    signal, g, out = (t.view(-1).numpy() for t in (x, gradient, of_x))
    p, q, parts = numerator.numpy(), weights.numpy(), _parts(len(signal))
    sums = np.zeros((len(parts), len(p) + len(q)))
    limit = far_from_zero(np.finfo(signal.dtype).max)
    for_each(len(parts), lambda n: _backward(g[parts[n]], signal[parts[n]], p, q, out[parts[n]], sums[n], limit))
    totals = torch.from_numpy(sums.sum(axis=0)).to(x.dtype)
    return of_x, totals[: len(p)], totals[len(p) :]


def _parts(count: int) -> list[slice]:
    """Divide the elements into whole pieces for at most one part per thread; few elements are one part."""
    threads = max(1, min(torch.get_num_threads(), count // _SHARE))
    size = -(-count // (threads * PIECE)) * PIECE
    return [slice(start, min(start + size, count)) for start in range(0, count, max(size, 1))]


def far_from_zero(largest: float) -> float:
    """Return the size of x beyond which P / Q is computed in powers of 1 / x, because powers of x may overflow.

    Args:
        largest: largest finite number of the type of x.
    """
    return math.pow(largest, 1 / 16)


@compiled
def _far(x: Any, numerator: Any, weights: Any) -> Any:
    """Return A, B of P = x^m A and Q = |x|^n B, and A1, B1 of x P' = x^m A1 and |x| Q' = |x|^n B1; float64."""
    a, a1, b, b1 = 0.0, 0.0, 1.0, 0.0
    t, s = 1.0 / x, 1.0 / abs(x)
    for i in range(numerator.shape[0]):
        a, a1 = a * t + numerator[i], a1 * t + i * numerator[i]
    for j in range(weights.shape[0]):
        b, b1 = b * s + weights[j], b1 * s + (j + 1) * weights[j]
    return a, a1, b, b1


@compiled
def _forward_far(signal: Any, numerator: Any, weights: Any, output: Any, limit: Any) -> None:
    m, n = numerator.shape[0] - 1, weights.shape[0]
    for i in range(signal.shape[0]):
        x = np.float64(signal[i])
        if abs(x) > limit:
            a, _, b, _ = _far(x, numerator, weights)
            sign = -1.0 if x < 0 and m % 2 == 1 else 1.0
            output[i] = sign * abs(x) ** (m - n) * a / b


@compiled
def _backward_far(g: Any, x: Any, numerator: Any, weights: Any, sums: Any) -> Any:
    """Add the gradients of the coefficients at one element x to the sums, and return the gradient of x."""
    m, n, size = numerator.shape[0] - 1, weights.shape[0], abs(x)
    a, a1, b, b1 = _far(x, numerator, weights)
    odd = -1.0 if x < 0 else 1.0
    y = (odd if m % 2 == 1 else 1.0) * size ** (m - n) / b
    slope = (y * a1 - y * a * b1 / b) / x
    y *= a
    for i in range(m + 1):
        sums[i] += g * (odd if i % 2 == 1 else 1.0) * size ** (i - n) / b
    for j in range(n):
        sums[m + 1 + j] -= g * y * size ** (j + 1 - n) / b
    return g * slope


@compiled
def _forward(signal: Any, numerator: Any, weights: Any, output: Any, limit: Any) -> None:
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
        largest = one
        for i in range(count):
            p[i] = p[i] / (q[i] * size[i] + one)
            largest = max(largest, size[i])
        if largest > limit:
            _forward_far(x, numerator, weights, p, limit)


@compiled
def _backward(gradient: Any, signal: Any, numerator: Any, weights: Any, output: Any, sums: Any, limit: Any) -> None:
    dtype, terms = signal.dtype, numerator.shape[0]
    total = np.zeros((sums.shape[0], PIECE), dtype)
    size, p, dp, q, dq = (np.empty(PIECE, dtype), np.empty(PIECE, dtype), np.empty(PIECE, dtype),
                          np.empty(PIECE, dtype), np.empty(PIECE, dtype))  # fmt: skip
    one = dtype.type(1)
    for start in range(0, signal.shape[0], PIECE):
        x, g, out = signal[start : start + PIECE], gradient[start : start + PIECE], output[start : start + PIECE]
        count = x.shape[0]
        largest = one
        for i in range(count):
            largest = max(largest, abs(x[i]))
        far = largest > limit
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
        if far:
            for i in range(count):
                if size[i] > limit:
                    out[i] = _backward_far(np.float64(g[i]), np.float64(x[i]), numerator, weights, sums)
                    p[i], q[i] = 0, 0
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
