"""Compiled loops of a diagonal linear recurrence: from chunk to chunk, with its adjoint, and from sample to sample."""

from __future__ import annotations

from typing import Any

import numpy as np

from nablafx_core.kernels.compiled import compiled

#: Channels that are computed side by side; enough for the compiler to use vector instructions.
_LANES = 16
#: Rows of `_LANES` numbers per state: real and imaginary parts of its decay, its readout and its value.
_ROWS = 6


@compiled
def carry(x: Any, decay: Any, entering: Any, end: Any) -> None:
    """Run s[0] = start, s[m+1] = a s[m] + x[m] over the chunks m.

    Args:
        x: (channels, batch, chunks, states, 2), real and imaginary parts.
        decay: a, (channels, states, 2).
        entering: s[m] of each chunk, of the shape of x; written.
        end: (channels, batch, states, 2); the start on entry, the state after the last chunk on return.
    """
    channels, batch, chunks, states, _ = x.shape
    for c in range(channels):
        for b in range(batch):
            s = end[c, b]
            for m in range(chunks):
                into, out = x[c, b, m], entering[c, b, m]
                for n in range(states):
                    re, im = s[n, 0], s[n, 1]
                    out[n, 0], out[n, 1] = re, im
                    a, w = decay[c, n, 0], decay[c, n, 1]
                    s[n, 0] = a * re - w * im + into[n, 0]
                    s[n, 1] = a * im + w * re + into[n, 1]


@compiled
def carry_back(gradient: Any, entering: Any, decay: Any, grad_x: Any, carried: Any, grad_decay: Any) -> None:
    """Run the adjoint of `carry`, from the last chunk to the first.

    g[m] = conj(a) g[m+1] + gradient[m],  dx[m] = g[m+1],  da += conj(s[m]) g[m+1]

    Args:
        gradient: gradient of the entering states, (channels, batch, chunks, states, 2).
        entering: s[m], as `carry` wrote it.
        decay: a, (channels, states, 2).
        grad_x: dx, of the shape of `gradient`; written.
        carried: (channels, batch, states, 2); the gradient of the last state on entry, that of the start on return.
        grad_decay: (channels, states, 2); da is added to it.
    """
    channels, batch, chunks, states, _ = gradient.shape
    for c in range(channels):
        total = grad_decay[c]
        for b in range(batch):
            g = carried[c, b]
            for m in range(chunks - 1, -1, -1):
                grad, s, out = gradient[c, b, m], entering[c, b, m], grad_x[c, b, m]
                for n in range(states):
                    re, im = g[n, 0], g[n, 1]
                    out[n, 0], out[n, 1] = re, im
                    total[n, 0] += s[n, 0] * re + s[n, 1] * im
                    total[n, 1] += s[n, 0] * im - s[n, 1] * re
                    a, w = decay[c, n, 0], decay[c, n, 1]
                    g[n, 0] = a * re + w * im + grad[n, 0]
                    g[n, 1] = a * im - w * re + grad[n, 1]


@compiled
def run_samples(u: Any, decay: Any, readout: Any, direct: Any, state: Any, y: Any) -> None:
    """Run s[t] = a s[t-1] + u[t],  y[t] = 2 Re sum over n of C'_n s_n[t] + D u[t] over the samples t.

    Args:
        u: (channels, batch, time).
        decay: a, (channels, states), complex128.
        readout: C', (channels, states), complex128.
        direct: D, (channels,).
        state: (batch, channels, states, 2), float64; the state before the first sample on entry, the state after the
            last one on return.
        y: (channels, batch, time); written.
    """
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
                    _two_steps(kept, states, x, total)
                else:
                    _step(kept, states, x, total)
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
def _step(kept: Any, states: Any, x: Any, total: Any) -> None:
    """Compute one sample of `_LANES` channels."""
    here = 0
    for _ in range(states):
        for i in range(here, here + _LANES):
            a, w, re, im = kept[i], kept[i + _LANES], kept[i + 4 * _LANES], kept[i + 5 * _LANES]
            re, im = a * re - w * im + x[i - here], a * im + w * re
            kept[i + 4 * _LANES], kept[i + 5 * _LANES] = re, im
            total[i - here] += kept[i + 2 * _LANES] * re + kept[i + 3 * _LANES] * im
        here += _ROWS * _LANES


@compiled
def _two_steps(kept: Any, states: Any, x: Any, total: Any) -> None:
    """Compute two samples of `_LANES` channels, so that each state is read and written once for both."""
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
