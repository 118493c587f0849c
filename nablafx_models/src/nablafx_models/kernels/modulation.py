"""Compiled loops of a modulation by steps, its activation and its residual, for one item of a batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from nablafx_core.kernels.compiled import compiled, inlined
from nablafx_core.kernels.simd import REGISTER_LANES, add, fma, full, load, mul, sigmoid, store, sub, sum_of, tanh
from nablafx_models.kernels.dilated_convolution import GATE, IDENTITY, TANH

#: Samples that are computed together, in two registers.
_LANES = 2 * REGISTER_LANES
#: Samples whose gradients are summed in float32; these sums are then added in float64.
_PIECE = 512


@inlined
def _modulated(y: Any, at: Any, gate: Any, step: Any, activation: Any) -> Any:
    """Return act(g y + b) for the samples of y at index `at` and, for a gate, at index `gate`."""
    scale, shift, scale2, shift2 = step
    value = fma(full(scale, _LANES), load(y, at, _LANES), full(shift, _LANES))
    if activation != IDENTITY:
        value = tanh(value)
    if activation == GATE:
        value = mul(value, sigmoid(fma(full(scale2, _LANES), load(y, gate, _LANES), full(shift2, _LANES))))
    return value


@inlined
def _step(steps: Any, o: Any, block: Any, channels: Any, blocks: Any, activation: Any, results: Any) -> Any:
    """Return g and b of channel `o`, then g and b of the channel of its gate (of `o` again without a gate)."""
    other = o + results if activation == GATE else o
    return (
        steps[o * blocks + block],
        steps[(o + channels) * blocks + block],
        steps[other * blocks + block],
        steps[(other + channels) * blocks + block],
    )


@inlined
def _adjoint(grad: Any, y: Any, places: Any, step: Any, activation: Any, of_y: Any, targets: Any, sums: Any) -> Any:
    """Store the gradient of y at one or (for a gate) two indices; add the gradients of g and b to `sums`, returned."""
    scale, shift, scale2, shift2 = step
    products, total, products2, total2 = sums
    source, at, gate = places
    into, of_gate = targets
    ones = full(np.float32(1.0), _LANES)
    g, value = load(grad, source, _LANES), load(y, at, _LANES)
    if activation != IDENTITY:
        bent = tanh(fma(full(scale, _LANES), value, full(shift, _LANES)))
        slope = sub(ones, mul(bent, bent))
        if activation == GATE:
            other = load(y, gate, _LANES)
            opened = sigmoid(fma(full(scale2, _LANES), other, full(shift2, _LANES)))
            g2 = mul(mul(g, bent), mul(opened, sub(ones, opened)))
            products2, total2 = fma(g2, other, products2), add(total2, g2)
            store(of_y, of_gate, mul(g2, full(scale2, _LANES)))
            slope = mul(slope, opened)
        g = mul(g, slope)
    store(of_y, into, mul(g, full(scale, _LANES)))
    return fma(g, value, products), add(total, g), products2, total2


def _compiled_for(activation: int) -> tuple[Any, Any]:
    """Return the compiled forward and backward loops for one activation; with one each, values stay in registers."""

    def forward(
        y: Any,
        rows: Any,
        steps: Any,
        grid: Any,
        count: Any,
        gain: Any,
        x: Any,
        residual: Any,
        out: Any,
        targets: Any,
    ) -> None:
        """Compute out = act(g y + b) + gain x, where g and b are held over blocks.

        Args:
            y: features to modulate, flat.
            rows: index in y at which each channel begins.
            steps: g of each channel, then b of each channel, (2 channels of y, blocks), flat.
            grid: samples of a block; samples of the first block that come before y; index of the first block in
                `steps`; number of blocks in `steps`.
            count: samples to compute.
            gain: gain of each channel's residual, (channels,); (0,) for no residual.
            x: signal of the residual, flat; not read without a gain.
            residual: index in x at which each channel's residual begins, (channels,).
            out: flat, written.
            targets: index in out at which each channel begins, (channels,).
        """
        size, lead, first, blocks = grid
        results, added = targets.shape[0], gain.shape[0] > 0
        spare = np.zeros(3 * _LANES, np.float32)
        for o in range(results):
            into, row = targets[o], rows[o]
            gate = rows[o + results] if activation == GATE else row
            beside, factor = (residual[o], gain[o]) if added else (into, np.float32(0.0))
            for block in range(first, blocks):
                start, stop = max((block - first) * size - lead, 0), min((block - first + 1) * size - lead, count)
                step = _step(steps, o, block, rows.shape[0], blocks, activation, results)
                whole = start + (stop - start) // _LANES * _LANES
                for t in range(start, whole, _LANES):
                    value = _modulated(y, row + t, gate + t, step, activation)
                    if added:
                        value = fma(full(factor, _LANES), load(x, beside + t, _LANES), value)
                    store(out, into + t, value)
                rest = stop - whole
                if rest > 0:
                    for t in range(rest):
                        spare[t], spare[_LANES + t] = y[row + whole + t], y[gate + whole + t]
                    store(spare, 2 * _LANES, _modulated(spare, 0, _LANES, step, activation))
                    for t in range(rest):
                        value_t = spare[2 * _LANES + t]
                        out[into + whole + t] = value_t + factor * x[beside + whole + t] if added else value_t

    def backward(
        grad: Any,
        sources: Any,
        y: Any,
        rows: Any,
        steps: Any,
        grid: Any,
        count: Any,
        of_y: Any,
        into: Any,
        of_steps: Any,
    ) -> None:
        """Compute the gradients of y and of the steps; steps that no sample uses keep the gradient they have.

        The derivative of tanh is 1 - tanh^2. For a gate with t = tanh and s = sigmoid, the derivatives are s (1 - t^2)
        and t s (1 - s). t and s are computed again from y, which takes less time than keeping them.

        Args:
            grad: gradient of out.
            sources: index in grad at which each channel begins.
            y, rows, steps, grid, count: as in `forward`.
            of_y: gradient of y, written.
            into: index in of_y at which each channel begins.
            of_steps: gradient of the steps, laid out like `steps`, written.
        """
        size, lead, first, blocks = grid
        channels, results = rows.shape[0], sources.shape[0]
        spare = np.zeros(5 * _LANES, np.float32)
        for o in range(results):
            source, row, target = sources[o], rows[o], into[o]
            gate, of_gate = (rows[o + results], into[o + results]) if activation == GATE else (row, target)
            for block in range(first, blocks):
                start, stop = max((block - first) * size - lead, 0), min((block - first + 1) * size - lead, count)
                step = _step(steps, o, block, channels, blocks, activation, results)
                whole = start + (stop - start) // _LANES * _LANES
                of_scale = of_shift = of_scale2 = of_shift2 = 0.0
                for piece in range(start, stop, _PIECE):
                    zero = full(np.float32(0.0), _LANES)
                    sums = zero, zero, zero, zero
                    for t in range(piece, min(piece + _PIECE, whole), _LANES):
                        places, targets = (source + t, row + t, gate + t), (target + t, of_gate + t)
                        sums = _adjoint(grad, y, places, step, activation, of_y, targets, sums)
                    rest = stop - whole
                    if whole < piece + _PIECE and rest > 0:
                        spare[: 3 * _LANES] = 0
                        for t in range(rest):
                            spare[t], spare[_LANES + t] = grad[source + whole + t], y[row + whole + t]
                            spare[2 * _LANES + t] = y[gate + whole + t]
                        places, targets = (0, _LANES, 2 * _LANES), (3 * _LANES, 4 * _LANES)
                        sums = _adjoint(spare, spare, places, step, activation, spare, targets, sums)
                        for t in range(rest):
                            if activation == GATE:
                                of_y[of_gate + whole + t] = spare[4 * _LANES + t]
                            of_y[target + whole + t] = spare[3 * _LANES + t]
                    of_scale += sum_of(sums[0])
                    of_shift += sum_of(sums[1])
                    if activation == GATE:
                        of_scale2 += sum_of(sums[2])
                        of_shift2 += sum_of(sums[3])
                of_steps[o * blocks + block] = of_scale
                of_steps[(o + channels) * blocks + block] = of_shift
                if activation == GATE:
                    of_steps[(o + results) * blocks + block] = of_scale2
                    of_steps[(o + results + channels) * blocks + block] = of_shift2

    return compiled(forward), compiled(backward)


#: The forward and backward loops of each activation number of `dilated_convolution`.
FORWARD, BACKWARD = (dict(enumerate(loops)) for loops in zip(*map(_compiled_for, (IDENTITY, TANH, GATE)), strict=True))
