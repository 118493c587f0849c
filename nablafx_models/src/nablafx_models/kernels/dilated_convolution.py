"""Compiled loops of a dilated convolution, its activation and its gradients, for one item of a batch.

Signals are flat arrays; channel c begins at index ``c * stride``. A sum over input channels and taps is a sum over
terms: for output sample t, term j reads the input at index ``t + offsets[j]``. A tile has four output channels and as
many samples as keep its sums in registers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nablafx_core.kernels.compiled import compiled, inlined
from nablafx_core.kernels.simd import (
    REGISTER_LANES,
    add,
    broadcast,
    fma,
    full,
    load,
    mul,
    sigmoid,
    store,
    sub,
    sum_of,
    tanh,
)

#: Output channels of a tile; packed weights and biases are padded to a multiple of it.
ROWS = 4
#: Samples of a tile: its sums take 16 of 32 registers with AVX-512, otherwise 8 of 16.
TILE = 64 if REGISTER_LANES == 16 else 16
#: Samples whose products are summed in float32; these sums are then added in float64.
BLOCK = 512

IDENTITY, TANH, GATE = 0, 1, 2


@compiled
def _tile(source: Any, origin: Any, offsets: Any, weights: Any, bias: Any, out: Any) -> None:
    """Compute out[row, t] = bias[row] + sum over j of weights[row // 4, j, row % 4] source[origin + offsets[j] + t]."""
    position = 0
    for row in range(0, bias.shape[0], ROWS):
        a0, a1 = broadcast(bias, row, TILE), broadcast(bias, row + 1, TILE)
        a2, a3 = broadcast(bias, row + 2, TILE), broadcast(bias, row + 3, TILE)
        for j in range(offsets.shape[0]):
            x = load(source, origin + offsets[j], TILE)
            a0 = fma(broadcast(weights, position, TILE), x, a0)
            a1 = fma(broadcast(weights, position + 1, TILE), x, a1)
            a2 = fma(broadcast(weights, position + 2, TILE), x, a2)
            a3 = fma(broadcast(weights, position + 3, TILE), x, a3)
            position += ROWS
        store(out, row * TILE, a0)
        store(out, (row + 1) * TILE, a1)
        store(out, (row + 2) * TILE, a2)
        store(out, (row + 3) * TILE, a3)


@inlined
def _copy_row(tile: Any, row: Any, target: Any, position: Any, count: Any) -> None:
    """Copy the first `count` samples of a row of a tile to target[position:]."""
    if count == TILE:
        store(target, position, load(tile, row * TILE, TILE))
    else:
        for t in range(count):
            target[position + t] = tile[row * TILE + t]


@compiled
def _gather(source: Any, origin: Any, offsets: Any, count: Any, out: Any) -> None:
    """Copy out[j, t] = source[origin + offsets[j] + t] for t < count, where a whole tile would pass the end."""
    for j in range(offsets.shape[0]):
        for t in range(count):
            out[j * TILE + t] = source[origin + offsets[j] + t]


@compiled
def forward(
    x: Any,
    offsets: Any,
    weights: Any,
    bias: Any,
    activation: Any,
    gain: Any,
    residual: Any,
    time: Any,
    features: Any,
    y: Any,
) -> None:
    """Compute y = act(conv(x) + bias) + gain residual, and keep the values of act for the gradients.

    Args:
        x: input channels at equal strides, flat.
        offsets: offset in x of each term, an input channel and a tap, (terms,).
        weights: (rows / 4, terms, 4), flat; rows are the output channels of the convolution, padded with zeros to a
            multiple of 4.
        bias: (rows,).
        activation: `IDENTITY`, `TANH` or `GATE`, which is the tanh of the first half of the channels times the sigmoid
            of the second half.
        gain: gain of each channel's residual, (channels,); (0,) for no residual.
        residual: index in x at which each channel's residual begins, (channels,).
        time: samples of y.
        features: values of tanh, and then of the sigmoid for a gate, (channels before the gate, time), flat, written;
            (0,) to keep none.
        y: (channels, time), flat, written.
    """
    rows, channels = bias.shape[0], y.shape[0] // time
    tile, gathered = np.empty(rows * TILE, np.float32), np.zeros(offsets.shape[0] * TILE, np.float32)
    packed_offsets = np.arange(offsets.shape[0]) * TILE
    kept = features.shape[0] // time
    for start in range(0, time, TILE):
        count = min(TILE, time - start)
        if count == TILE:
            _tile(x, start, offsets, weights, bias, tile)
        else:
            _gather(x, start, offsets, count, gathered)
            _tile(gathered, 0, packed_offsets, weights, bias, tile)
        if activation != IDENTITY:
            for row in range(channels):
                store(tile, row * TILE, tanh(load(tile, row * TILE, TILE)))
        if activation == GATE:
            for row in range(channels, 2 * channels):
                store(tile, row * TILE, sigmoid(load(tile, row * TILE, TILE)))
        for row in range(kept):
            _copy_row(tile, row, features, row * time + start, count)
        for row in range(channels):
            if activation == GATE:
                product = mul(load(tile, row * TILE, TILE), load(tile, (row + channels) * TILE, TILE))
                store(tile, row * TILE, product)
            if gain.shape[0] > 0:
                _add_residual(tile, row, x, residual[row] + start, gain[row], count)
            _copy_row(tile, row, y, row * time + start, count)


@inlined
def _add_residual(tile: Any, row: Any, x: Any, position: Any, gain: Any, count: Any) -> None:
    """Add gain x[position + t] to the first `count` samples of a row of a tile."""
    if count == TILE:
        values = fma(full(gain, TILE), load(x, position, TILE), load(tile, row * TILE, TILE))
        store(tile, row * TILE, values)
    else:
        for t in range(count):
            tile[row * TILE + t] += gain * x[position + t]


@compiled
def before_activation(
    grad: Any, source: Any, activation: Any, features: Any, time: Any, out: Any, lead: Any, stride: Any
) -> None:
    """Compute the gradient of the activation's input, which is conv(x) + bias, from the gradient of its output.

    The gradient of the output is multiplied by the derivative: 1 - tanh^2 for tanh, 1 for the identity. For a gate
    t s with t = tanh and s = sigmoid, the derivatives by its two inputs are s (1 - t^2) and t s (1 - s).

    Args:
        grad: gradient of the activation's output, flat.
        source: distance between the channels of `grad`, and their number.
        activation: as in `forward`.
        features: values of tanh and sigmoid, as `forward` keeps them; not read for the identity.
        time: samples of a channel.
        out: gradient of the activation's input, flat, written; channel c begins at index c * stride + lead. For a gate
            it has twice as many channels as `grad`.
        lead: samples before the signal in each channel of `out`, which are not written.
        stride: distance between the channels of `out`.
    """
    between, channels = source
    one = np.float32(1.0)
    ones = full(one, REGISTER_LANES)
    whole = time // REGISTER_LANES * REGISTER_LANES
    for row in range(channels):
        begin, start, other = row * between, row * time, (row + channels) * time
        first, second = row * stride + lead, (row + channels) * stride + lead
        for t in range(0, whole, REGISTER_LANES):
            g = load(grad, begin + t, REGISTER_LANES)
            if activation != IDENTITY:
                value = load(features, start + t, REGISTER_LANES)
                slope = sub(ones, mul(value, value))
                if activation == GATE:
                    gate = load(features, other + t, REGISTER_LANES)
                    store(out, second + t, mul(mul(g, value), mul(gate, sub(ones, gate))))
                    slope = mul(slope, gate)
                g = mul(g, slope)
            store(out, first + t, g)
        for t in range(whole, time):
            last = grad[begin + t]
            if activation != IDENTITY:
                tail = features[start + t]
                steep = one - tail * tail
                if activation == GATE:
                    open_ = features[other + t]
                    out[second + t] = last * tail * (open_ * (one - open_))
                    steep *= open_
                last *= steep
            out[first + t] = last


@compiled
def input_gradient(
    grad: Any,
    offsets: Any,
    weights: Any,
    zeros: Any,
    grad_output: Any,
    sources: Any,
    gain: Any,
    residual: Any,
    time: Any,
    length: Any,
    out: Any,
) -> None:
    """Compute the gradient of x: `grad` convolved with the mirrored weights, plus the gradient through the residual.

    Args:
        grad: gradient of the convolution's output, with zeros before and after each row; the array ends at least one
            tile after the last row's signal.
        offsets: offset in grad of each term, an output channel and a tap.
        weights: weights of the transposed and mirrored convolution, packed as in `forward`.
        zeros: zero bias, (input channels, padded to a multiple of 4).
        grad_output: gradient of gain times residual, which is the gradient of y; not read without a residual.
        sources: index in grad_output at which each channel begins.
        gain: as in `forward`.
        residual: index in `out` at which each channel's residual begins.
        time: samples of grad_output.
        length: samples of x.
        out: (input channels, length), flat, written.
    """
    tile = np.empty(zeros.shape[0] * TILE, np.float32)
    for start in range(0, length, TILE):
        _tile(grad, start, offsets, weights, zeros, tile)
        for row in range(out.shape[0] // length):
            _copy_row(tile, row, out, row * length + start, min(TILE, length - start))
    for channel in range(gain.shape[0]):
        factor, source, target = gain[channel], sources[channel], residual[channel]
        whole = time // REGISTER_LANES * REGISTER_LANES
        factors = full(factor, REGISTER_LANES)
        for t in range(0, whole, REGISTER_LANES):
            passed = fma(factors, load(grad_output, source + t, REGISTER_LANES), load(out, target + t, REGISTER_LANES))
            store(out, target + t, passed)
        for t in range(whole, time):
            out[target + t] += factor * grad_output[source + t]


@inlined
def _add_pair(out: Any, row: Any, term: Any, first: Any, second: Any, valid: Any, two: Any) -> None:
    """Add the sums of two vectors to out[row, term] and, if `two`, out[row, term + 1]; do nothing unless `valid`."""
    if valid:
        out[row, term] += sum_of(first)
        if two:
            out[row, term + 1] += sum_of(second)


@compiled
def correlations(grad: Any, rows: Any, x: Any, offsets: Any, time: Any, out: Any) -> None:
    """Add the gradient of the weights: out[o, j] += sum over t of grad[rows[o] + t] x[offsets[j] + t].

    Sums over `BLOCK` samples are float32; `out`, to which they are added, is float64. Four rows and two terms are
    computed together. If fewer remain, the last one is computed again and discarded.
    """
    count, terms = rows.shape[0], offsets.shape[0]
    whole = time // REGISTER_LANES * REGISTER_LANES
    for start in range(0, whole, BLOCK):
        stop = min(start + BLOCK, whole)
        for j in range(0, terms, 2):
            x0, x1 = offsets[j], offsets[min(j + 1, terms - 1)]
            for o in range(0, count, ROWS):
                g0, g1 = rows[o], rows[min(o + 1, count - 1)]
                g2, g3 = rows[min(o + 2, count - 1)], rows[min(o + 3, count - 1)]
                a00 = a01 = a10 = a11 = a20 = a21 = a30 = a31 = full(np.float32(0.0), REGISTER_LANES)
                for t in range(start, stop, REGISTER_LANES):
                    u, v = load(x, x0 + t, REGISTER_LANES), load(x, x1 + t, REGISTER_LANES)
                    g = load(grad, g0 + t, REGISTER_LANES)
                    a00, a01 = fma(g, u, a00), fma(g, v, a01)
                    g = load(grad, g1 + t, REGISTER_LANES)
                    a10, a11 = fma(g, u, a10), fma(g, v, a11)
                    g = load(grad, g2 + t, REGISTER_LANES)
                    a20, a21 = fma(g, u, a20), fma(g, v, a21)
                    g = load(grad, g3 + t, REGISTER_LANES)
                    a30, a31 = fma(g, u, a30), fma(g, v, a31)
                two = j + 1 < terms
                _add_pair(out, o, j, a00, a01, True, two)
                _add_pair(out, o + 1, j, a10, a11, o + 1 < count, two)
                _add_pair(out, o + 2, j, a20, a21, o + 2 < count, two)
                _add_pair(out, o + 3, j, a30, a31, o + 3 < count, two)
    for t in range(whole, time):
        for o in range(count):
            for j in range(terms):
                out[o, j] += np.float64(grad[rows[o] + t]) * x[offsets[j] + t]


@compiled
def totals(grad: Any, rows: Any, time: Any, out: Any) -> None:
    """Add the gradient of a bias: out[o] += sum over t of grad[rows[o] + t].

    Sums over `BLOCK` samples are float32; `out`, to which they are added, is float64.
    """
    for o in range(rows.shape[0]):
        for start in range(0, time, BLOCK):
            stop = min(start + BLOCK, time)
            whole = start + (stop - start) // REGISTER_LANES * REGISTER_LANES
            sums = full(np.float32(0.0), REGISTER_LANES)
            for t in range(start, whole, REGISTER_LANES):
                sums = add(sums, load(grad, rows[o] + t, REGISTER_LANES))
            total = np.float64(sum_of(sums))
            for t in range(whole, stop):
                total += grad[rows[o] + t]
            out[o] += total


@compiled
def products(first: Any, starts: Any, second: Any, others: Any, time: Any, out: Any) -> None:
    """Add the gradient of a gain: out[o] += sum over t of first[starts[o] + t] second[others[o] + t].

    Sums over `BLOCK` samples are float32; `out`, to which they are added, is float64.
    """
    for o in range(starts.shape[0]):
        for start in range(0, time, BLOCK):
            stop = min(start + BLOCK, time)
            whole = start + (stop - start) // REGISTER_LANES * REGISTER_LANES
            sums = full(np.float32(0.0), REGISTER_LANES)
            for t in range(start, whole, REGISTER_LANES):
                v = load(second, others[o] + t, REGISTER_LANES)
                sums = fma(load(first, starts[o] + t, REGISTER_LANES), v, sums)
            total = np.float64(sum_of(sums))
            for t in range(whole, stop):
                total += np.float64(first[starts[o] + t]) * second[others[o] + t]
            out[o] += total
