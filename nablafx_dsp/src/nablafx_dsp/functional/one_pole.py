"""The first-order recursive filter as a differentiable function with state."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nablafx_core.errors import ModelError
from nablafx_core.kernels.choice import compiled_for
from nablafx_dsp.frames import Frames, frames_over, held
from nablafx_dsp.functional.linear_recursion import linear_recursion
from nablafx_dsp.functional.precision import wide_dtype
from nablafx_dsp.kernels import one_pole as recursion


def one_pole(
    audio: Tensor, pole: Tensor, state: Tensor | None = None, *, block_size: int = 1, skip: int = 0
) -> tuple[Tensor, Tensor]:
    """Filter a signal by a first-order low-pass, exact even when its pole moves.

    y[t] = (1 - a) x[t] + a y[t - 1],  a = exp(-2 pi cutoff_hz / sample_rate)

    float32 and float64 on the CPU run compiled and are differentiable once. Everything else is a parallel scan in
    torch's operations, within 1e-9 (float64) or, on devices without float64, 1e-4 of the peak.

    Args:
        audio: (batch, time).
        pole: a, between -1 and 1 (above 0 for a cutoff as above): (batch, 1), (batch, time), or (batch, blocks) for one
            value per block.
        state: y before the first sample, (batch,); 0 if None.
        block_size: number of samples of a block.
        skip: number of samples of the last block that come after the signal.

    Returns:
        The output (batch, time) and the final state, (batch,), in float64 (float32 on MPS).

    Raises:
        ModelError: if the poles do not have a shape (batch, frames), or their frames do not cover the audio.
    """
    (batch, time), wide = audio.shape, wide_dtype(audio.device)
    if pole.ndim != 2 or pole.shape[0] != batch:
        raise ModelError(
            f"one_pole: expected poles of shape ({batch}, frames) for {batch} signals, got {tuple(pole.shape)}."
        )
    frames = frames_over(pole.shape[1], time, block_size, skip)
    state = audio.new_zeros(batch, dtype=wide) if state is None else state.to(audio.device, wide)
    pole = pole.to(wide)
    if not time:
        return audio, state
    if compiled_for(audio, pole, state, dtypes=(torch.float32, torch.float64)):
        given = audio.contiguous(), pole.contiguous(), state.contiguous()
        output, final = _OnePole.apply(*given, frames)  # type: ignore[no-untyped-call]
        return output, final
    a = held(pole, time, block_size, skip)
    curve = linear_recursion(a[..., None, None], ((1 - a) * audio.to(wide))[..., None], state[:, None])[..., 0]
    return curve.to(audio.dtype), curve[:, -1]


class _OnePole(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, audio: Tensor, pole: Tensor, state: Tensor, frames: Frames) -> tuple[Tensor, Tensor]:
        output, final = recursion.forward(audio, pole, state, frames)
        ctx.save_for_backward(audio, output, pole, state)
        ctx.frames = frames
        return output, final

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor, grad_final: Tensor) -> tuple[Tensor | None, ...]:
        audio, output, pole, state = ctx.saved_tensors
        gradients = recursion.backward(grad_output.contiguous(), grad_final, audio, output, pole, state, ctx.frames)
        return *(g if need else None for g, need in zip(gradients, ctx.needs_input_grad, strict=False)), None
