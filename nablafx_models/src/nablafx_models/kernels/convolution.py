"""The compiled loops of a dilated convolution, its activation and its gradients, for one item of a batch.

Signals are flat: row c of one begins at ``c * stride``. A sum over input channels and taps is a sum over terms: term j
reads the input ``offsets[j]`` floats from where the output sample stands. Four output channels are computed at a time,
and as many samples as keep the sums in registers.
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

#: Output channels of a tile, to which packed weights and biases are filled up.
ROWS = 4
#: Samples of a tile: with avx512 its sums take 16 of 32 registers, otherwise 8 of 16.
TILE = 64 if REGISTER_LANES == 16 else 16
#: Samples over which products are summed in float32 before they are added up in float64.
BLOCK = 512

IDENTITY, TANH, GATE = 0, 1, 2


@compiled
def _tile(source: Any, origin: Any, offsets: Any, weights: Any, bias: Any, out: Any) -> None:
    """out[row, t] = bias[row] + sum over j of weights[row // 4, j, row % 4] source[origin + offsets[j] + t]."""
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
def _row(tile: Any, row: Any, target: Any, position: Any, count: Any) -> None:
    """The first `count` samples of a tile's row, into target from `position` on."""
    if count == TILE:
        store(target, position, load(tile, row * TILE, TILE))
    else:
        for t in range(count):
            target[position + t] = tile[row * TILE + t]


@compiled
def _gathered(source: Any, origin: Any, offsets: Any, count: Any, out: Any) -> None:
    """out[j, t] = source[origin + offsets[j] + t] for t < count: what a tile reads at the end of a signal."""
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
    """y = act(conv(x) + bias) + gain residual, and act's values for `backward`.

    Args:
        x: input channels of equal strides.
        offsets: of each term in x, (terms,).
        weights: (rows / 4, terms, 4), flat, with zeros for rows that are none.
        bias: (rows,).
        activation: `IDENTITY`, `TANH` or `GATE`, which is tanh of the first half of the channels times sigmoid of the
            second.
        gain: of each channel of y, (channels,); (0,) for no residual.
        residual: where in x each channel's residual begins, (channels,).
        time: samples of y.
        features: tanh and sigmoid, (channels before the gate, time); (0,) to keep none.
        y: (channels, time), flat.
    """
    rows, channels = bias.shape[0], y.shape[0] // time
    tile, gathered = np.empty(rows * TILE, np.float32), np.zeros(offsets.shape[0] * TILE, np.float32)
    one_after_other = np.arange(offsets.shape[0]) * TILE
    kept = features.shape[0] // time
    for start in range(0, time, TILE):
        count = min(TILE, time - start)
        if count == TILE:
            _tile(x, start, offsets, weights, bias, tile)
        else:
            _gathered(x, start, offsets, count, gathered)
            _tile(gathered, 0, one_after_other, weights, bias, tile)
        if activation != IDENTITY:
            for row in range(channels):
                store(tile, row * TILE, tanh(load(tile, row * TILE, TILE)))
        if activation == GATE:
            for row in range(channels, 2 * channels):
                store(tile, row * TILE, sigmoid(load(tile, row * TILE, TILE)))
        for row in range(kept):
            _row(tile, row, features, row * time + start, count)
        for row in range(channels):
            if activation == GATE:
                product = mul(load(tile, row * TILE, TILE), load(tile, (row + channels) * TILE, TILE))
                store(tile, row * TILE, product)
            if gain.shape[0] > 0:
                _add_residual(tile, row, x, residual[row] + start, gain[row], count)
            _row(tile, row, y, row * time + start, count)


@inlined
def _add_residual(tile: Any, row: Any, x: Any, position: Any, gain: Any, count: Any) -> None:
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
    """The gradient before the activation from that after it, into rows of `out` at `lead`.

    tanh' = 1 - tanh^2; the gate's are s (1 - t^2) and t s (1 - s). The rows of `grad` have the stride and the number
    that `source` says.
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
    """The gradient of x: the convolution of `grad` with the mirrored weights, and what the residual passes on.

    Args:
        grad: of the convolution's output, between zeros; the last of its rows ends a tile beyond its signal.
        offsets: of each term in grad.
        weights: packed as in `forward`, of the transposed and mirrored convolution.
        zeros: (rows,).
        grad_output: of y, or of the residual's part in it.
        sources: where in grad_output each channel begins.
        gain: as in `forward`.
        residual: where in x each channel's residual begins.
        time: samples of grad_output.
        length: samples of x.
        out: (input channels, length), flat.
    """
    tile = np.empty(zeros.shape[0] * TILE, np.float32)
    for start in range(0, length, TILE):
        _tile(grad, start, offsets, weights, zeros, tile)
        for row in range(out.shape[0] // length):
            _row(tile, row, out, row * length + start, min(TILE, length - start))
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
def _add_pair(out: Any, row: Any, term: Any, first: Any, second: Any, there: Any, two: Any) -> None:
    if there:
        out[row, term] += sum_of(first)
        if two:
            out[row, term + 1] += sum_of(second)


@compiled
def correlations(grad: Any, rows: Any, x: Any, offsets: Any, time: Any, out: Any) -> None:
    """out[o, j] += sum over t of grad[rows[o] + t] x[offsets[j] + t], in float64: the gradient of weights.

    Four rows with two terms at a time; beyond the last one the last is taken again and thrown away.
    """
    some, terms = rows.shape[0], offsets.shape[0]
    whole = time // REGISTER_LANES * REGISTER_LANES
    for start in range(0, whole, BLOCK):
        stop = min(start + BLOCK, whole)
        for j in range(0, terms, 2):
            x0, x1 = offsets[j], offsets[min(j + 1, terms - 1)]
            for o in range(0, some, ROWS):
                g0, g1 = rows[o], rows[min(o + 1, some - 1)]
                g2, g3 = rows[min(o + 2, some - 1)], rows[min(o + 3, some - 1)]
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
                _add_pair(out, o + 1, j, a10, a11, o + 1 < some, two)
                _add_pair(out, o + 2, j, a20, a21, o + 2 < some, two)
                _add_pair(out, o + 3, j, a30, a31, o + 3 < some, two)
    for t in range(whole, time):
        for o in range(some):
            for j in range(terms):
                out[o, j] += np.float64(grad[rows[o] + t]) * x[offsets[j] + t]


@compiled
def totals(grad: Any, rows: Any, time: Any, out: Any) -> None:
    """out[o] += sum over t of grad[rows[o] + t], in float64: the gradient of a bias."""
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
    """out[o] += sum over t of first[starts[o] + t] second[others[o] + t], in float64: the gradient of a gain."""
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
