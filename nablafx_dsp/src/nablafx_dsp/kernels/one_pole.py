"""The first-order recursion and its adjoint on the CPU, in float64 for any audio."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nablafx_core.kernels.compiled import compiled
from nablafx_core.kernels.pool import for_each
from nablafx_dsp.frames import Frames


def forward(audio: Tensor, pole: Tensor, state: Tensor, frames: Frames) -> tuple[Tensor, Tensor]:
    """Compute y = (1 - a) x + a y', where y' is y at the sample before.

    Args:
        audio: x, (batch, time), float32 or float64.
        pole: a, (batch, frames), float64.
        state: y before the first sample, (batch,), float64.
        frames: position of the pole's frames over the audio.

    Returns:
        The output, of the audio's shape and dtype, and the final state, (batch,).
    """
    output, final = torch.empty_like(audio), state.clone()
    x, a, y, last = audio.numpy(), pole.numpy(), output.numpy(), final.numpy()
    for_each(
        len(x), lambda n: _forward(x[n], a[n], y[n], last[n : n + 1], frames.block_size, frames.first, frames.lead)
    )
    return output, final


def backward(
    grad_output: Tensor,
    grad_final: Tensor,
    audio: Tensor,
    output: Tensor,
    pole: Tensor,
    state: Tensor,
    frames: Frames,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the gradients of audio, pole and state by the adjoint recursion, backwards in time.

    With g the gradient of the output, l the gradient of y through all samples from this one on, a' and l' at the sample
    after and y' at the sample before::

        l = g + a' l';   dx = (1 - a) l;   da += l (y' - x)

    Args:
        grad_output: gradient of the output, (batch, time).
        grad_final: gradient of the final state, (batch,).
        audio, output, pole, state, frames: arguments and results of `forward`.
    """
    grad_audio, grad_pole = torch.empty_like(audio), torch.zeros_like(pole)
    grad_state = grad_final.clone()
    g, x, y, a, start = (t.numpy() for t in (grad_output, audio, output, pole, state))
    dx, da, carried = grad_audio.numpy(), grad_pole.numpy(), grad_state.numpy()

    def item(n: int) -> None:
        own = carried[n : n + 1]
        _backward(g[n], x[n], y[n], a[n], start[n], dx[n], da[n], own, frames.block_size, frames.last, frames.left)

    for_each(len(x), item)
    return grad_audio, grad_pole, grad_state


@compiled
def _forward(x: Any, pole: Any, y: Any, state: Any, block_size: int, frame: int, lead: int) -> None:
    left, before = block_size - lead, state[0]
    a = pole[frame]
    for t in range(x.shape[0]):
        if left == 0:
            frame += 1
            left, a = block_size, pole[frame]
        before = (1 - a) * x[t] + a * before
        y[t] = before
        left -= 1
    state[0] = before


@compiled
def _backward(
    g: Any,
    x: Any,
    y: Any,
    pole: Any,
    start: Any,
    grad_x: Any,
    grad_pole: Any,
    carried: Any,
    block_size: int,
    frame: int,
    left: int,
) -> None:
    later, total = carried[0], 0.0
    a = pole[frame]
    for t in range(x.shape[0] - 1, -1, -1):
        if left == 0:
            grad_pole[frame] += total
            frame -= 1
            left, a, total = block_size, pole[frame], 0.0
        later += g[t]
        before = y[t - 1] if t > 0 else start
        grad_x[t] = (1 - a) * later
        total += later * (before - x[t])
        later = a * later
        left -= 1
    grad_pole[frame] += total
    carried[0] = later
