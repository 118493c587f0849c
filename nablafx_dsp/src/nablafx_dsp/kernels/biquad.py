"""The biquad recursion and its adjoint on the CPU, one sample after the other.

Transposed direct form II with coefficients (b0, b1, b2, a1, a2), a0 = 1::

    y = b0 x + z1;   z1' = b1 x - a1 y + z2;   z2' = b2 x - a2 y

Everything inside is float64, whatever the audio is: the poles of a low, sharp filter are too close to the unit
circle for float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nablafx_core.kernels.compiled import compiled


def forward(audio: Tensor, coefficients: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Filter a signal.

    Args:
        audio: (batch, time), float32 or float64.
        coefficients: (batch, 5, time), or (batch, 5, 1) where they stand still; float64.
        state: z1 and z2 before the first sample, (batch, 2), float64.

    Returns:
        The output, of the audio's shape and type, and the state after the last sample.
    """
    output, final = torch.empty_like(audio, memory_format=torch.contiguous_format), torch.empty_like(state)
    held = coefficients.expand(-1, -1, audio.shape[-1])
    _forward(audio.numpy(), held.numpy(), state.numpy(), output.numpy(), final.numpy())
    return output, final


def backward(
    grad_output: Tensor, grad_final: Tensor, audio: Tensor, output: Tensor, coefficients: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients for audio, coefficients and initial state, by the adjoint recursion, which runs backwards in time.

    With l1, l2 the gradients of z1', z2' and g that of y::

        h = g - a1 l1 - a2 l2
        db0 += h x;  db1 += l1 x;  db2 += l2 x;  da1 -= l1 y;  da2 -= l2 y
        dx = b0 h + b1 l1 + b2 l2;   l2' = l1;   l1' = h

    Args:
        grad_output: (batch, time).
        grad_final: (batch, 2).
        audio, output, coefficients: what `forward` took and gave.
    """
    grad_audio, grad_coefficients = torch.empty_like(audio), torch.zeros_like(coefficients)
    grad_state = torch.empty_like(grad_final)
    held = coefficients.expand(-1, -1, audio.shape[-1])
    signals = (grad_output, grad_final, audio, output, held, grad_audio, grad_coefficients, grad_state)
    _backward(*(signal.numpy() for signal in signals))
    return grad_audio, grad_coefficients, grad_state


@compiled
def _forward(audio: Any, coefficients: Any, state: Any, output: Any, final: Any) -> None:
    for item in range(audio.shape[0]):
        z1, z2 = state[item, 0], state[item, 1]
        for t in range(audio.shape[1]):
            b0, b1, b2 = coefficients[item, 0, t], coefficients[item, 1, t], coefficients[item, 2, t]
            a1, a2 = coefficients[item, 3, t], coefficients[item, 4, t]
            x = audio[item, t]
            y = b0 * x + z1
            z1 = b1 * x - a1 * y + z2
            z2 = b2 * x - a2 * y
            output[item, t] = y
        final[item, 0], final[item, 1] = z1, z2


@compiled
def _backward(
    grad_output: Any,
    grad_final: Any,
    audio: Any,
    output: Any,
    coefficients: Any,
    grad_audio: Any,
    grad_coefficients: Any,
    grad_state: Any,
) -> None:
    moves = grad_coefficients.shape[2] > 1
    for item in range(audio.shape[0]):
        l1, l2 = grad_final[item, 0], grad_final[item, 1]
        grad = grad_coefficients[item]
        for t in range(audio.shape[1] - 1, -1, -1):
            b0, b1, b2 = coefficients[item, 0, t], coefficients[item, 1, t], coefficients[item, 2, t]
            a1, a2 = coefficients[item, 3, t], coefficients[item, 4, t]
            x, y = audio[item, t], output[item, t]
            h = grad_output[item, t] - a1 * l1 - a2 * l2
            frame = t if moves else 0
            grad[0, frame] += h * x
            grad[1, frame] += l1 * x
            grad[2, frame] += l2 * x
            grad[3, frame] -= l1 * y
            grad[4, frame] -= l2 * y
            grad_audio[item, t] = b0 * h + b1 * l1 + b2 * l2
            l2 = l1
            l1 = h
        grad_state[item, 0], grad_state[item, 1] = l1, l2
