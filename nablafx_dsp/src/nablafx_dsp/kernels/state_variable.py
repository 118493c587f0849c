"""The state-variable recursion and its adjoint on the CPU, in float64 for any audio.

With the state (s, r) before a sample x and (s', r') after it, the coefficients g, k and the weights low, band and high
of the output y, the equations of `nablafx_dsp.functional.state_variable` are solved once per frame::

    h = 2 / (1 + g (g + k));   c1 = h - 1;   c2 = g h;   c3 = g^2 h
    m0 = high;   m1 = (band - k high) / 2;   m2 = (low - high) / 2

    v = x - r;   s' = c1 s + c2 v;   r' = r + c2 s + c3 v
    y = m0 x + m1 (s + s') + m2 (r + r')
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nablafx_core.kernels.compiled import compiled, inlined
from nablafx_core.kernels.pool import for_each
from nablafx_dsp.frames import Frames


def forward(audio: Tensor, coefficients: Tensor, state: Tensor, frames: Frames, keep: bool) -> tuple[Tensor, Tensor]:
    """Filter a signal by the equations of this module.

    Args:
        audio: (batch, time), float32 or float64.
        coefficients: g, k, low, band and high, (batch, 5, frames), float64.
        state: s and r before the first sample, (batch, 2), float64.
        frames: position of the coefficients' frames over the audio.
        keep: keep the state after each sample, which `backward` needs, instead of the last one only.

    Returns:
        The output, of the audio's shape and dtype, and the states before the first sample and after each kept one,
        (batch, time + 1 or 2, 2).
    """
    batch, time = audio.shape
    output, states = torch.empty_like(audio), state.new_empty(batch, time + 1 if keep else 2, 2)
    states[:, 0] = state
    x, c, y, s = audio.numpy(), coefficients.numpy(), output.numpy(), states.numpy()
    for_each(batch, lambda n: _forward(x[n], c[n], y[n], s[n], frames.block_size, frames.first, frames.lead))
    return output, states


def backward(
    grad_output: Tensor, grad_final: Tensor, audio: Tensor, coefficients: Tensor, states: Tensor, frames: Frames
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the gradients of audio, coefficients and initial state by the adjoint recursion, backwards in time.

    With j, k the gradients of s', r' and g that of y (not the coefficients k and g), and v = x - r::

        p = j + m1 g;   q = k + m2 g;   d = c2 p + c3 q
        dx = m0 g + d;   j' = c1 p + c2 q + m1 g;   k' = q - d + m2 g
        dc1 += s p;   dc2 += v p + s q;   dc3 += v q
        dm0 += x g;   dm1 += (s + s') g;   dm2 += (r + r') g

    The gradients of a frame's five coefficients follow from these sums at the end of the frame.

    Args:
        grad_output: gradient of the output, (batch, time).
        grad_final: gradient of the final state, (batch, 2).
        audio, coefficients, states, frames: arguments and results of `forward`.
    """
    grad_audio, grad_coefficients = torch.empty_like(audio), torch.zeros_like(coefficients)
    grad_state = grad_final.clone(memory_format=torch.contiguous_format)
    g, x, c, s = (t.numpy() for t in (grad_output, audio, coefficients, states))
    dx, dc, carried = grad_audio.numpy(), grad_coefficients.numpy(), grad_state.numpy()

    def item(n: int) -> None:
        _backward(g[n], x[n], c[n], s[n], dx[n], dc[n], carried[n], frames.block_size, frames.last, frames.left)

    for_each(len(x), item)
    return grad_audio, grad_coefficients, grad_state


@compiled
def _forward(x: Any, c: Any, y: Any, states: Any, block_size: int, frame: int, lead: int) -> None:
    keep, left = states.shape[0] > 2, block_size - lead
    s, r = states[0, 0], states[0, 1]
    c1, c2, c3, m0, m1, m2 = _solved(c, frame)
    for t in range(x.shape[0]):
        if left == 0:
            frame += 1
            left = block_size
            c1, c2, c3, m0, m1, m2 = _solved(c, frame)
        v = x[t] - r
        after, later = c1 * s + c2 * v, (r + c2 * s) + c3 * v
        y[t] = m0 * x[t] + m1 * (s + after) + m2 * (r + later)
        s, r = after, later
        if keep:
            states[t + 1, 0], states[t + 1, 1] = s, r
        left -= 1
    states[-1, 0], states[-1, 1] = s, r


@compiled
def _backward(
    g: Any,
    x: Any,
    c: Any,
    states: Any,
    grad_x: Any,
    grad_c: Any,
    carried: Any,
    block_size: int,
    frame: int,
    left: int,
) -> None:
    j, k = carried[0], carried[1]
    c1, c2, c3, m0, m1, m2 = _solved(c, frame)
    d1 = d2 = d3 = n0 = n1 = n2 = 0.0
    for t in range(x.shape[0] - 1, -1, -1):
        if left == 0:
            _add(c, grad_c, frame, d1, d2, d3, n0, n1, n2)
            d1 = d2 = d3 = n0 = n1 = n2 = 0.0
            frame -= 1
            left = block_size
            c1, c2, c3, m0, m1, m2 = _solved(c, frame)
        s, r, after, later = states[t, 0], states[t, 1], states[t + 1, 0], states[t + 1, 1]
        v, h = x[t] - r, g[t]
        p, q = j + m1 * h, k + m2 * h
        d = c2 * p + c3 * q
        grad_x[t] = m0 * h + d
        d1 += s * p
        d2 += v * p + s * q
        d3 += v * q
        n0 += x[t] * h
        n1 += (s + after) * h
        n2 += (r + later) * h
        j, k = c1 * p + c2 * q + m1 * h, q - d + m2 * h
        left -= 1
    _add(c, grad_c, frame, d1, d2, d3, n0, n1, n2)
    carried[0], carried[1] = j, k


@inlined
def _solved(c: Any, frame: int) -> Any:
    """Return c1, c2, c3, m0, m1, m2 of a frame."""
    g, k, low, band, high = c[0, frame], c[1, frame], c[2, frame], c[3, frame], c[4, frame]
    h = 2 / (1 + g * (g + k))
    return h - 1, g * h, g * g * h, high, (band - k * high) / 2, (low - high) / 2


@inlined
def _add(c: Any, grad: Any, frame: int, d1: Any, d2: Any, d3: Any, n0: Any, n1: Any, n2: Any) -> None:
    """Add to the gradients of a frame's g, k, low, band and high, given those of the six results of `_solved`."""
    g, k, high = c[0, frame], c[1, frame], c[4, frame]
    h = 2 / (1 + g * (g + k))
    of_sum = -(d1 + g * d2 + g * g * d3) * h * h / 2
    grad[0, frame] += h * (d2 + 2 * g * d3) + of_sum * (2 * g + k)
    grad[1, frame] += of_sum * g - high * n1 / 2
    grad[2, frame] += n2 / 2
    grad[3, frame] += n1 / 2
    grad[4, frame] += n0 - (k * n1 + n2) / 2
