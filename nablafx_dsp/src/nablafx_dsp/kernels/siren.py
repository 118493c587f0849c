"""A network with sine activations for each sample of a signal, and its gradients, on the CPU.

All arithmetic is float32, in vectors over the samples. A signal is cut into pieces that fit into the fastest caches.
Features of a piece are (units, PIECE), flat.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from nablafx_core.kernels.compiled import compiled, inlined
from nablafx_core.kernels.pool import for_each
from nablafx_core.kernels.simd import REGISTER_LANES, add, broadcast, fma, full, load, mul, store, sub, sum_of

LANES = REGISTER_LANES

#: Units whose outputs are computed together; the number of units of a layer must be a multiple of it.
UNITS_AT_ONCE = 4

#: Number of samples of a piece, and number of samples that are computed together.
PIECE, TILE = 128, 2 * LANES

_ZERO = np.float32(0)
_ONE = np.float32(1)

# Float32 numbers from 2^23 on have no fraction bits: adding 1.5 * 2^23 and subtracting it again rounds to an integer.
# 2 pi is split into its float32 value and the remainder.
_ROUND, _TURNS = np.float32(1.5 * 2**23), np.float32(0.5 / math.pi)
_TURN, _REST = np.float32(-2 * math.pi), np.float32(-(2 * math.pi - float(np.float32(2 * math.pi))))

# (sin(r) / r - 1) / r^2 and (cos(r) - 1) / r^2 as polynomials in r^2, the highest power first, interpolated on +-pi at
# Chebyshev's points: sine and cosine are within 1e-8 in exact arithmetic, 1e-6 in float32.
_SIN = tuple(map(np.float32, (1.394191673e-10, -2.482221655e-8, 2.754567958e-6, -1.984100222e-4, 8.333331078e-3,
                              -0.1666666664)))  # fmt: skip
_COS = tuple(map(np.float32, (-9.927458868e-12, 2.067194614e-9, -2.754368293e-7, 2.480111903e-5, -1.388888121e-3,
                              0.04166666619, -0.5)))  # fmt: skip
_S0, _S1, _S2, _S3, _S4, _S5 = _SIN
_C0, _C1, _C2, _C3, _C4, _C5, _C6 = _COS


class Weights(NamedTuple):
    """Weights of a network whose sine layers all have the same number of units, float32 and flat.

    Args:
        first: w0 times the weights, and then w0 times the biases, of the first layer.
        hidden: matrices (outputs, inputs) of the other sine layers, in order.
        turned: the same matrices transposed, (inputs, outputs).
        biases: biases of the other sine layers.
        last: weights and bias of the linear layer.
    """

    first: Any
    hidden: Any
    turned: Any
    biases: Any
    last: Any


def forward(values: Tensor, weights: Weights) -> Tensor:
    """Compute the network's output for each value, in the values' shape; values are float32 and contiguous."""
    output = torch.empty_like(values)
    x, y = values.view(-1).numpy(), output.view(-1).numpy()
    parts = _parts(len(x))
    for_each(len(parts), lambda n: _forward(x[parts[n]], *weights, y[parts[n]]))
    return output


def backward(gradient: Tensor, values: Tensor, weights: Weights) -> tuple[Tensor, tuple[Any, ...]]:
    """Compute the gradients of the values, and of `first`, `hidden`, `biases` and `last` of the weights, flat.

    The features are recomputed instead of kept. The gradient of `first` is by w0 times the weights and biases.

    Args:
        gradient: gradient of the output, of the values' shape, contiguous.
        values, weights: arguments of `forward`.
    """
    of_values = torch.empty_like(values)
    g, x, dx = (t.view(-1).numpy() for t in (gradient, values, of_values))
    kept = (weights.first, weights.hidden, weights.biases, weights.last)
    parts = _parts(len(x))
    sums = [tuple(np.zeros_like(weight) for weight in kept) for _ in parts]
    for_each(len(parts), lambda n: _backward(g[parts[n]], x[parts[n]], *weights, dx[parts[n]], *sums[n]))
    return of_values, tuple(sum(each) for each in zip(*sums, strict=True))


def _parts(count: int) -> list[slice]:
    """Split `count` samples into at most one part per thread, each but the last a whole number of pieces."""
    size = max(-(-count // (torch.get_num_threads() * PIECE)) * PIECE, PIECE)
    return [slice(start, min(start + size, count)) for start in range(0, max(count, 1), size)]


@compiled
def _forward(x: Any, first: Any, hidden: Any, turned: Any, biases: Any, last: Any, y: Any) -> None:
    units = last.shape[0] - 1
    features, sums = np.empty(units * PIECE, np.float32), np.empty(units * PIECE, np.float32)
    piece = np.zeros(PIECE, np.float32)
    for start in range(0, x.shape[0], PIECE):
        count = min(PIECE, x.shape[0] - start)
        piece[:count] = x[start : start + count]
        for unit in range(units):
            for t in range(0, count, LANES):
                store(features, unit * PIECE + t, _sin(_reduced(_affine(first, unit, units, piece, t))))
        for layer in range(biases.shape[0] // units):
            _dense(hidden, layer * units * units, features, units, count, sums)
            for unit in range(units):
                for t in range(0, count, LANES):
                    at = unit * PIECE + t
                    z = add(load(sums, at, LANES), broadcast(biases, layer * units + unit, LANES))
                    store(features, at, _sin(_reduced(z)))
        for t in range(0, count, LANES):
            total = broadcast(last, units, LANES)
            for unit in range(units):
                total = fma(broadcast(last, unit, LANES), load(features, unit * PIECE + t, LANES), total)
            store(piece, t, total)
        y[start : start + count] = piece[:count]


@compiled
def _backward(
    g: Any,
    x: Any,
    first: Any,
    hidden: Any,
    turned: Any,
    biases: Any,
    last: Any,
    grad_x: Any,
    grad_first: Any,
    grad_hidden: Any,
    grad_biases: Any,
    grad_last: Any,
) -> None:
    units = last.shape[0] - 1
    layers, size = biases.shape[0] // units, units * PIECE
    sines, cosines = np.zeros((layers + 1, size), np.float32), np.zeros((layers + 1, size), np.float32)
    sums, grads = np.empty(size, np.float32), np.zeros(size, np.float32)
    piece, gradient = np.zeros(PIECE, np.float32), np.zeros(PIECE, np.float32)
    for start in range(0, x.shape[0], PIECE):
        count = min(PIECE, x.shape[0] - start)
        piece[:count], gradient[:count], gradient[count:] = x[start : start + count], g[start : start + count], 0
        for unit in range(units):
            for t in range(0, count, LANES):
                at, r = unit * PIECE + t, _reduced(_affine(first, unit, units, piece, t))
                store(sines[0], at, _sin(r))
                store(cosines[0], at, _cos(r))
        for layer in range(layers):
            _dense(hidden, layer * units * units, sines[layer], units, count, sums)
            for unit in range(units):
                for t in range(0, count, LANES):
                    at, bias = unit * PIECE + t, broadcast(biases, layer * units + unit, LANES)
                    r = _reduced(add(load(sums, at, LANES), bias))
                    store(sines[layer + 1], at, _sin(r))
                    store(cosines[layer + 1], at, _cos(r))
        top = sines[layers]
        for unit in range(units):
            total = full(_ZERO, LANES)
            for t in range(0, count, LANES):
                h = load(gradient, t, LANES)
                total = fma(h, load(top, unit * PIECE + t, LANES), total)
                store(sums, unit * PIECE + t, mul(h, broadcast(last, unit, LANES)))
            grad_last[unit] += sum_of(total)
        total = full(_ZERO, LANES)
        for t in range(0, count, LANES):
            total = add(total, load(gradient, t, LANES))
        grad_last[units] += sum_of(total)
        for layer in range(layers - 1, -1, -1):
            for unit in range(units):
                total = full(_ZERO, LANES)
                for t in range(0, count, LANES):
                    at = unit * PIECE + t
                    z = mul(load(sums, at, LANES), load(cosines[layer + 1], at, LANES))
                    store(grads, at, z)
                    total = add(total, z)
                grad_biases[layer * units + unit] += sum_of(total)
            _outer(grads, sines[layer], units, count, grad_hidden, layer * units * units)
            _dense(turned, layer * units * units, grads, units, count, sums)
        for t in range(0, count, LANES):
            store(gradient, t, full(_ZERO, LANES))
        for unit in range(units):
            total, plain = full(_ZERO, LANES), full(_ZERO, LANES)
            for t in range(0, count, LANES):
                at = unit * PIECE + t
                z = mul(load(sums, at, LANES), load(cosines[0], at, LANES))
                total, plain = fma(z, load(piece, t, LANES), total), add(plain, z)
                store(gradient, t, fma(z, broadcast(first, unit, LANES), load(gradient, t, LANES)))
            grad_first[unit] += sum_of(total)
            grad_first[units + unit] += sum_of(plain)
        grad_x[start : start + count] = gradient[:count]


@inlined
def _affine(first: Any, unit: int, units: int, piece: Any, t: int) -> Any:
    return fma(broadcast(first, unit, LANES), load(piece, t, LANES), broadcast(first, units + unit, LANES))


@inlined
def _reduced(z: Any) -> Any:
    """Return z minus the nearest multiple of 2 pi."""
    turns = sub(fma(z, full(_TURNS, LANES), full(_ROUND, LANES)), full(_ROUND, LANES))
    return fma(turns, full(_REST, LANES), fma(turns, full(_TURN, LANES), z))


@inlined
def _sin(r: Any) -> Any:
    square = mul(r, r)
    p = fma(full(_S0, LANES), square, full(_S1, LANES))
    p = fma(p, square, full(_S2, LANES))
    p = fma(p, square, full(_S3, LANES))
    p = fma(p, square, full(_S4, LANES))
    p = fma(p, square, full(_S5, LANES))
    return fma(mul(r, square), p, r)


@inlined
def _cos(r: Any) -> Any:
    square = mul(r, r)
    p = fma(full(_C0, LANES), square, full(_C1, LANES))
    p = fma(p, square, full(_C2, LANES))
    p = fma(p, square, full(_C3, LANES))
    p = fma(p, square, full(_C4, LANES))
    p = fma(p, square, full(_C5, LANES))
    p = fma(p, square, full(_C6, LANES))
    return fma(p, square, full(_ONE, LANES))


@inlined
def _dense(matrix: Any, begin: int, features: Any, units: int, count: int, output: Any) -> None:
    """Compute output[o, t] = sum over i of matrix[o, i] features[i, t], for four o and a tile of t at a time."""
    for o in range(0, units, UNITS_AT_ONCE):
        row = begin + o * units
        for t in range(0, count, TILE):
            a = b = c = d = a1 = b1 = c1 = d1 = full(_ZERO, LANES)
            for i in range(units):
                x, x1 = load(features, i * PIECE + t, LANES), load(features, i * PIECE + t + LANES, LANES)
                w = broadcast(matrix, row + i, LANES)
                a, a1 = fma(w, x, a), fma(w, x1, a1)
                w = broadcast(matrix, row + i + units, LANES)
                b, b1 = fma(w, x, b), fma(w, x1, b1)
                w = broadcast(matrix, row + i + 2 * units, LANES)
                c, c1 = fma(w, x, c), fma(w, x1, c1)
                w = broadcast(matrix, row + i + 3 * units, LANES)
                d, d1 = fma(w, x, d), fma(w, x1, d1)
            at = o * PIECE + t
            store(output, at, a)
            store(output, at + LANES, a1)
            store(output, at + PIECE, b)
            store(output, at + PIECE + LANES, b1)
            store(output, at + 2 * PIECE, c)
            store(output, at + 2 * PIECE + LANES, c1)
            store(output, at + 3 * PIECE, d)
            store(output, at + 3 * PIECE + LANES, d1)


@inlined
def _outer(grads: Any, features: Any, units: int, count: int, output: Any, begin: int) -> None:
    """Compute output[o, i] += sum over t of grads[o, t] features[i, t], for four o and two i at a time."""
    for o in range(0, units, UNITS_AT_ONCE):
        for i in range(0, units, 2):
            a = b = c = d = a1 = b1 = c1 = d1 = full(_ZERO, LANES)
            for t in range(0, count, LANES):
                x, x1 = load(features, i * PIECE + t, LANES), load(features, (i + 1) * PIECE + t, LANES)
                g = load(grads, o * PIECE + t, LANES)
                a, a1 = fma(g, x, a), fma(g, x1, a1)
                g = load(grads, (o + 1) * PIECE + t, LANES)
                b, b1 = fma(g, x, b), fma(g, x1, b1)
                g = load(grads, (o + 2) * PIECE + t, LANES)
                c, c1 = fma(g, x, c), fma(g, x1, c1)
                g = load(grads, (o + 3) * PIECE + t, LANES)
                d, d1 = fma(g, x, d), fma(g, x1, d1)
            at = begin + o * units + i
            output[at] += sum_of(a)
            output[at + 1] += sum_of(a1)
            output[at + units] += sum_of(b)
            output[at + units + 1] += sum_of(b1)
            output[at + 2 * units] += sum_of(c)
            output[at + 2 * units + 1] += sum_of(c1)
            output[at + 3 * units] += sum_of(d)
            output[at + 3 * units + 1] += sum_of(d1)
