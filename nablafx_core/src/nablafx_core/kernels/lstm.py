"""Compute the recursion of an LSTM and its adjoint on the CPU, in float32.

Hidden units are processed in blocks of LANES; their number is padded with zeros to a multiple of LANES. Values of the
gates are stored in blocks too: for each block its input, forget, cell and output gate, four vectors in a row. Each
array is flat, with one row per item of the batch.
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
    part,
    sigmoid,
    store,
    sub,
    tanh,
)

#: Number of hidden units in a block; the sums of a product, four gates of four items, almost fit into the registers.
LANES = REGISTER_LANES
GATES = 4 * LANES
_ROWS = 4  # items of a batch computed together, so that each weight is loaded once for them
_ZERO, _ONE = np.float32(0), np.float32(1)


@compiled
def forward(
    sizes: Any, kept: int, x: Any, weights: Any, hidden: Any, cell: Any, outputs: Any, gates: Any, cells: Any
) -> None:
    """Run the recursion; `hidden` and `cell` contain the state before the first sample, then that after the last one.

    Args:
        sizes: batch, time, inputs, units.
        kept: 1 if `gates` and `cells` are kept for `backward`; 0 if each block of units overwrites the one before, so
            that the arrays need to hold only one block. (A factor instead of a branch, in which numba would count
            references to arrays.)
        x: inputs, (batch, time, inputs).
        weights: weights, (blocks, 1 + inputs + units, 4 LANES), with the bias first.
        hidden: h, (2, batch, units): ``hidden[0]`` before the first sample, and space for a second one. Afterwards, h
            after the last sample is in ``hidden[time % 2]``.
        cell: c before the first sample, and afterwards that after the last one, (batch, units).
        outputs: output, h, (batch, time, units).
        gates: output, i, f, g and o, (batch, time, 4 units).
        cells: output, c, (batch, time, units).
    """
    batch, time, _, units = sizes
    rows = batch - batch % _ROWS
    for t in range(time):
        before, after = (t % 2) * batch * units, ((t + 1) % 2) * batch * units
        for row in range(0, rows, _ROWS):
            for unit in range(0, units, LANES):
                a, b, c, d = _sums_of_rows(sizes, x, weights, hidden, before, row, t, unit)
                here, there = row * units + unit, (row * time + t) * units + unit
                _step(a, hidden, after, cell, outputs, gates, cells, here, there, kept)
                _step(b, hidden, after, cell, outputs, gates, cells, here + units, there + time * units, kept)
                _step(c, hidden, after, cell, outputs, gates, cells, here + 2 * units, there + 2 * time * units, kept)
                _step(d, hidden, after, cell, outputs, gates, cells, here + 3 * units, there + 3 * time * units, kept)
        for row in range(rows, batch):
            for unit in range(0, units, LANES):
                a = _sum_of_row(sizes, x, weights, hidden, before, row, t, unit)
                here, there = row * units + unit, (row * time + t) * units + unit
                _step(a, hidden, after, cell, outputs, gates, cells, here, there, kept)


@inlined
def _sums_of_rows(
    sizes: Any, x: Any, weights: Any, hidden: Any, before: int, row: int, t: int, unit: int
) -> tuple[Any, Any, Any, Any]:
    """Return w_ih x + w_hh h + bias of one block of units for four items; each weight is read once for all four."""
    _, time, inputs, units = sizes
    at = unit * 4 * (1 + inputs + units)
    a = b = c = d = load(weights, at, GATES)
    p, step = (row * time + t) * inputs, time * inputs
    for n in range(p, p + inputs):
        at += GATES
        w = load(weights, at, GATES)
        a = fma(w, broadcast(x, n, GATES), a)
        b = fma(w, broadcast(x, n + step, GATES), b)
        c = fma(w, broadcast(x, n + 2 * step, GATES), c)
        d = fma(w, broadcast(x, n + 3 * step, GATES), d)
    p = before + row * units
    for n in range(p, p + units):
        at += GATES
        w = load(weights, at, GATES)
        a = fma(w, broadcast(hidden, n, GATES), a)
        b = fma(w, broadcast(hidden, n + units, GATES), b)
        c = fma(w, broadcast(hidden, n + 2 * units, GATES), c)
        d = fma(w, broadcast(hidden, n + 3 * units, GATES), d)
    return a, b, c, d


@inlined
def _sum_of_row(sizes: Any, x: Any, weights: Any, hidden: Any, before: int, row: int, t: int, unit: int) -> Any:
    """Return the sum of `_sums_of_rows`, added in the same order, for one item."""
    _, time, inputs, units = sizes
    at = unit * 4 * (1 + inputs + units)
    a = load(weights, at, GATES)
    p = (row * time + t) * inputs
    for n in range(p, p + inputs):
        at += GATES
        a = fma(load(weights, at, GATES), broadcast(x, n, GATES), a)
    p = before + row * units
    for n in range(p, p + units):
        at += GATES
        a = fma(load(weights, at, GATES), broadcast(hidden, n, GATES), a)
    return a


@inlined
def _step(
    a: Any,
    hidden: Any,
    after: int,
    cell: Any,
    outputs: Any,
    gates: Any,
    cells: Any,
    here: int,
    there: int,
    kept: int,
) -> None:
    """Update one block of units at one sample from the sums `a` of its gates: c = f c + i g,  h = o tanh(c)."""
    i, f = sigmoid(part(a, 0, LANES)), sigmoid(part(a, 1, LANES))
    g, o = tanh(part(a, 2, LANES)), sigmoid(part(a, 3, LANES))
    c = fma(f, load(cell, here, LANES), mul(i, g))
    h = mul(o, tanh(c))
    store(cell, here, c)
    store(hidden, after + here, h)
    store(outputs, there, h)
    there *= kept
    store(cells, there, c)
    store(gates, 4 * there, i)
    store(gates, 4 * there + LANES, f)
    store(gates, 4 * there + 2 * LANES, g)
    store(gates, 4 * there + 3 * LANES, o)


@compiled
def backward(
    sizes: Any,
    grad_outputs: Any,
    weights: Any,
    gates: Any,
    cells: Any,
    cell: Any,
    grad_hidden: Any,
    grad_cell: Any,
    grad_gates: Any,
) -> None:
    """Run the adjoint recursion; `grad_hidden` and `grad_cell` change from the last state's gradients to the first's.

    dh is the gradient of h, from the outputs and the next sample; dc is the gradient of c; gradients of gates are
    those before sigmoid or tanh::

        do = dh tanh(c) o (1 - o);   dc += dh o (1 - tanh(c)^2)
        di = dc g i (1 - i);   df = dc c' f (1 - f);   dg = dc i (1 - g^2)
        dc' = dc f;   dh' = W_hh^T [di df dg do]

    Args:
        sizes: batch, time, units.
        grad_outputs: gradients of the outputs, (batch, time, units).
        weights: weights of the recurrence, (blocks, 4 units, LANES).
        gates, cells: arrays that `forward` wrote.
        cell: c before the first sample, (batch, units).
        grad_hidden, grad_cell: gradients of the state, (batch, units).
        grad_gates: output, di, df, dg and do, (batch, time, 4 units).
    """
    batch, time, units = sizes
    rows = batch - batch % _ROWS
    for t in range(time - 1, -1, -1):
        for row in range(batch):
            for unit in range(0, units, LANES):
                here, there = row * units + unit, (row * time + t) * units + unit
                before = load(cells, there - units, LANES) if t else load(cell, here, LANES)
                _adjoint_step(grad_outputs, gates, cells, before, grad_hidden, grad_cell, grad_gates, here, there)
        for row in range(0, rows, _ROWS):
            _adjoint_products_of_rows(sizes, weights, grad_gates, grad_hidden, row, t)
        for row in range(rows, batch):
            _adjoint_product_of_row(sizes, weights, grad_gates, grad_hidden, row, t)


@inlined
def _adjoint_step(
    grad_outputs: Any,
    gates: Any,
    cells: Any,
    before: Any,
    grad_hidden: Any,
    grad_cell: Any,
    grad_gates: Any,
    here: int,
    there: int,
) -> None:
    one, at = full(_ONE, LANES), 4 * there
    i, f = load(gates, at, LANES), load(gates, at + LANES, LANES)
    g, o = load(gates, at + 2 * LANES, LANES), load(gates, at + 3 * LANES, LANES)
    c = tanh(load(cells, there, LANES))
    dh = add(load(grad_outputs, there, LANES), load(grad_hidden, here, LANES))
    dc = fma(mul(dh, o), sub(one, mul(c, c)), load(grad_cell, here, LANES))
    store(grad_gates, at, mul(mul(dc, g), mul(i, sub(one, i))))
    store(grad_gates, at + LANES, mul(mul(dc, before), mul(f, sub(one, f))))
    store(grad_gates, at + 2 * LANES, mul(mul(dc, i), sub(one, mul(g, g))))
    store(grad_gates, at + 3 * LANES, mul(mul(dh, c), mul(o, sub(one, o))))
    store(grad_cell, here, mul(dc, f))


@inlined
def _adjoint_products_of_rows(sizes: Any, weights: Any, grad_gates: Any, grad_hidden: Any, row: int, t: int) -> None:
    """Compute dh' of four items, with separate sums of even and odd terms, which run in parallel."""
    _, time, units = sizes
    p, step = (row * time + t) * 4 * units, time * 4 * units
    for unit in range(0, units, LANES):
        at = unit * 4 * units
        a = b = c = d = a1 = b1 = c1 = d1 = full(_ZERO, LANES)
        for n in range(p, p + 4 * units, 2):
            w, w1 = load(weights, at, LANES), load(weights, at + LANES, LANES)
            at += 2 * LANES
            a = fma(w, broadcast(grad_gates, n, LANES), a)
            b = fma(w, broadcast(grad_gates, n + step, LANES), b)
            c = fma(w, broadcast(grad_gates, n + 2 * step, LANES), c)
            d = fma(w, broadcast(grad_gates, n + 3 * step, LANES), d)
            a1 = fma(w1, broadcast(grad_gates, n + 1, LANES), a1)
            b1 = fma(w1, broadcast(grad_gates, n + step + 1, LANES), b1)
            c1 = fma(w1, broadcast(grad_gates, n + 2 * step + 1, LANES), c1)
            d1 = fma(w1, broadcast(grad_gates, n + 3 * step + 1, LANES), d1)
        store(grad_hidden, row * units + unit, add(a, a1))
        store(grad_hidden, (row + 1) * units + unit, add(b, b1))
        store(grad_hidden, (row + 2) * units + unit, add(c, c1))
        store(grad_hidden, (row + 3) * units + unit, add(d, d1))


@inlined
def _adjoint_product_of_row(sizes: Any, weights: Any, grad_gates: Any, grad_hidden: Any, row: int, t: int) -> None:
    """Compute dh' of one item, added in the same order as in `_adjoint_products_of_rows`."""
    _, time, units = sizes
    p = (row * time + t) * 4 * units
    for unit in range(0, units, LANES):
        at = unit * 4 * units
        a = a1 = full(_ZERO, LANES)
        for n in range(p, p + 4 * units, 2):
            a = fma(load(weights, at, LANES), broadcast(grad_gates, n, LANES), a)
            a1 = fma(load(weights, at + LANES, LANES), broadcast(grad_gates, n + 1, LANES), a1)
            at += 2 * LANES
        store(grad_hidden, row * units + unit, add(a, a1))
