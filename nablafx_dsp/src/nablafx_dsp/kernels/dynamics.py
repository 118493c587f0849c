"""The gain of a dynamic range processor and its adjoint on the CPU, in float64 for any audio.

Coefficients and equations are those of `nablafx_dsp.functional.dynamics.dynamics_gain`. Both kinds of smoothing are one
recursion with three poles, one of which is 0: the attack pole of the first filter (decoupled), or the pole of the
second filter (branching).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nablafx_core.kernels.compiled import compiled, inlined
from nablafx_core.kernels.pool import for_each
from nablafx_dsp.frames import Frames

#: Added to the detected power, so that silence has a finite level: -100 dB.
FLOOR = 1e-10

_DB_OF_POWER = 10 / math.log(10)
_PER_DB = math.log(10) / 20


def forward(
    key: Tensor, coefficients: Tensor, state: Tensor, side: float, frames: Frames, keep: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the gain for each sample of a key.

    Args:
        key: (batch, time), float32 or float64.
        coefficients: (batch, 9, frames), float64.
        state: m, v and y before the first sample, (batch, 3), float64.
        side: 1 for a processor that acts above the threshold, -1 below.
        frames: position of the coefficients' frames over the key.
        keep: keep the level and the state of each sample, which `backward` needs; otherwise only the final state.

    Returns:
        The gain, of the key's shape and dtype; the level in dB at each sample, (batch, time or 0); and the states
        before the first sample and after each kept one, (batch, time + 1 or 2, 3).
    """
    batch, time = key.shape
    gain, states = torch.empty_like(key), state.new_empty(batch, time + 1 if keep else 2, 3)
    levels = state.new_empty(batch, time if keep else 0)
    states[:, 0] = state
    x, c, g, d, s = key.numpy(), coefficients.numpy(), gain.numpy(), levels.numpy(), states.numpy()
    for_each(
        batch, lambda n: _forward(x[n], c[n], side, g[n], d[n], s[n], frames.block_size, frames.first, frames.lead)
    )
    return gain, levels, states


def backward(
    grad_gain: Tensor,
    grad_final: Tensor,
    key: Tensor,
    gain: Tensor,
    levels: Tensor,
    states: Tensor,
    coefficients: Tensor,
    side: float,
    frames: Frames,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the gradients of key, coefficients and initial state by the adjoint recursion, backwards in time.

    With j, k, l the gradients of the state (m, v, y) from the samples after, e that of the gain in dB, p the pole of
    the branch that was taken, s the smoothing pole, a the averaging pole, and x the key::

        l = l - side e;      ds += l (y' - v);   k = k + (1 - s) l;   l' = s l
        dp += k (v' - u);    du = (1 - p) k;     k' = p k
        j = j + 10 / ln 10 dlevel / (m + floor);   da += j (m' - x^2);   dx = 2 x (1 - a) j;   j' = a j

    Args:
        grad_gain: gradient of the gain, (batch, time).
        grad_final: gradient of the final state, (batch, 3).
        key, gain, levels, states, coefficients, side, frames: arguments and results of `forward`.
    """
    grad_key, grad_coefficients = torch.empty_like(key), torch.zeros_like(coefficients)
    grad_state = grad_final.clone(memory_format=torch.contiguous_format)
    tensors = grad_gain, key, gain, levels, states, coefficients, grad_key, grad_coefficients, grad_state
    arrays = [tensor.numpy() for tensor in tensors]

    def item(n: int) -> None:
        _backward(side, frames.block_size, frames.last, frames.left, *(array[n] for array in arrays))

    for_each(len(key), item)
    return grad_key, grad_coefficients, grad_state


@compiled
def _forward(
    x: Any, c: Any, side: float, gain: Any, levels: Any, states: Any, block_size: int, frame: int, lead: int
) -> None:
    keep, left = levels.shape[0] > 0, block_size - lead
    m, v, y = states[0, 0], states[0, 1], states[0, 2]
    average, threshold, slope, knee, span, attack, release, smooth, makeup = _read(c, frame)
    for t in range(x.shape[0]):
        if left == 0:
            frame += 1
            left = block_size
            average, threshold, slope, knee, span, attack, release, smooth, makeup = _read(c, frame)
        power = np.float64(x[t]) * np.float64(x[t])
        m = average * m + (1 - average) * power
        level = _DB_OF_POWER * math.log(m + FLOOR)
        h, _ = _over_knee(side * (level - threshold), knee)
        u = -side * max(slope * h, -span)
        pole = attack if u > v else release
        v = pole * v + (1 - pole) * u
        y = smooth * y + (1 - smooth) * v
        gain[t] = math.exp(_PER_DB * (makeup - side * y))
        if keep:
            levels[t] = level
            states[t + 1, 0], states[t + 1, 1], states[t + 1, 2] = m, v, y
        left -= 1
    states[-1, 0], states[-1, 1], states[-1, 2] = m, v, y


@compiled
def _backward(
    side: float,
    block_size: int,
    frame: int,
    left: int,
    grad_gain: Any,
    x: Any,
    gain: Any,
    levels: Any,
    states: Any,
    c: Any,
    grad_x: Any,
    grad_c: Any,
    carried: Any,
) -> None:
    j, k, l = carried[0], carried[1], carried[2]  # noqa: E741
    average, threshold, slope, knee, span, attack, release, smooth, _ = _read(c, frame)
    d0 = d1 = d2 = d3 = d4 = d5 = d6 = d7 = d8 = 0.0
    for t in range(x.shape[0] - 1, -1, -1):
        if left == 0:
            _add(grad_c, frame, d0, d1, d2, d3, d4, d5, d6, d7, d8)
            d0 = d1 = d2 = d3 = d4 = d5 = d6 = d7 = d8 = 0.0
            frame -= 1
            left = block_size
            average, threshold, slope, knee, span, attack, release, smooth, _ = _read(c, frame)
        e = np.float64(grad_gain[t]) * np.float64(gain[t]) * _PER_DB
        d8 += e
        l -= side * e  # noqa: E741
        d7 += l * (states[t, 2] - states[t + 1, 1])
        k += (1 - smooth) * l
        l *= smooth  # noqa: E741

        h, q = _over_knee(side * (levels[t] - threshold), knee)
        curve, v = slope * h, states[t, 1]
        u = -side * max(curve, -span)
        of_pole = k * (v - u)
        if u > v:
            d5 += of_pole
            of_curve = -side * (1 - attack) * k
            k *= attack
        else:
            d6 += of_pole
            of_curve = -side * (1 - release) * k
            k *= release

        of_level = 0.0
        if curve >= -span:
            of_level = side * of_curve * slope * q
            d1 -= of_level
            d2 += of_curve * h
            if q < 1:
                d3 += of_curve * slope * q * (1 - q) / 2
        else:
            d4 -= of_curve
        power = np.float64(x[t]) * np.float64(x[t])
        j += of_level * _DB_OF_POWER / (states[t + 1, 0] + FLOOR)
        d0 += j * (states[t, 0] - power)
        grad_x[t] = 2 * (1 - average) * j * x[t]
        j *= average
        left -= 1
    _add(grad_c, frame, d0, d1, d2, d3, d4, d5, d6, d7, d8)
    carried[0], carried[1], carried[2] = j, k, l


@inlined
def _read(c: Any, frame: int) -> Any:
    """Return the nine coefficients of a frame."""
    return (
        c[0, frame],
        c[1, frame],
        c[2, frame],
        c[3, frame],
        c[4, frame],
        c[5, frame],
        c[6, frame],
        c[7, frame],
        c[8, frame],
    )


@inlined
def _over_knee(z: float, knee: float) -> Any:
    """Return h of `dynamics_gain` (0 below the knee, z above it, a parabola in between), and its derivative by z."""
    half = knee / 2
    if z >= half:
        return z, 1.0
    if z <= -half:
        return 0.0, 0.0
    q = (z + half) / knee
    return q * (z + half) / 2, q


@inlined
def _add(
    grad: Any, frame: int, d0: Any, d1: Any, d2: Any, d3: Any, d4: Any, d5: Any, d6: Any, d7: Any, d8: Any
) -> None:
    """Add nine numbers to the gradients of a frame's coefficients."""
    grad[0, frame] += d0
    grad[1, frame] += d1
    grad[2, frame] += d2
    grad[3, frame] += d3
    grad[4, frame] += d4
    grad[5, frame] += d5
    grad[6, frame] += d6
    grad[7, frame] += d7
    grad[8, frame] += d8
