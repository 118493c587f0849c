"""Gain and offset that change from block to block, as a differentiable function."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nablafx_core.errors import ModelError
from nablafx_core.kernels.choice import compiled_for
from nablafx_core.steps import Steps
from nablafx_dsp.frames import Frames, blocks_over
from nablafx_dsp.kernels import ramp as kernel


def ramp(
    audio: Tensor,
    gain: Tensor | None,
    offset: Tensor | None,
    gain_before: Tensor | None = None,
    offset_before: Tensor | None = None,
    *,
    block_size: int = 1,
    skip: int = 0,
) -> Tensor:
    """Apply a gain and an offset that are constant over each block or interpolated linearly between blocks.

    y[t] = gain(t) x[t] + offset(t). Sample i of a block of n has the block's value v or, if the value u before is
    given, u + (v - u) (i + 1) / n, which is v at the last sample. If the v of each block is the u of the next, nothing
    jumps at a block's edge.

    Blocks of more than one sample run compiled for float32 and float64 on the CPU and are then differentiable once.
    Everything else runs in torch's operations.

    Args:
        audio: x, (batch, time).
        gain: v of the gain: (batch, blocks); with a `block_size` of 1 also (batch, 1) for a constant. 1 if None.
        offset: v of the offset, of the same shape as `gain`; 0 if None.
        gain_before, offset_before: u of each block, of the shapes of `gain` and `offset`; None to hold v over the whole
            block. Not used without `gain` or `offset`, or with a `block_size` of 1.
        block_size: number of samples of a block; 1 for values that are constant or one per sample.
        skip: number of samples of the last block that come after the signal.

    Returns:
        y, of the shape and dtype of the audio.

    Raises:
        ModelError: if `block_size` is above 1, and the values do not all have one shape (batch, blocks) or the blocks
            do not cover the audio.
    """
    given = [(value.to(audio), before if before is None else before.to(audio)) if value is not None else (None, None)
             for value, before in ((gain, gain_before), (offset, offset_before))]  # fmt: skip
    (gain, gain_before), (offset, offset_before) = given
    present = [value for value in (gain, offset, gain_before, offset_before) if value is not None]
    shapes = {tuple(value.shape) for value in present}
    if block_size == 1 or not audio.shape[-1]:
        y = audio if gain is None else audio * gain
        return y if offset is None else y + offset
    if len(shapes) > 1 or any(len(shape) != 2 or shape[0] != len(audio) for shape in shapes):
        raise ModelError(
            f"ramp: expected gain and offset, and their values before, of one shape ({len(audio)}, blocks), got "
            f"{sorted(shapes)}."
        )
    if not present:
        return audio
    blocks = blocks_over(present[0].shape[1], audio.shape[-1], block_size, skip)
    if not compiled_for(audio, *present, dtypes=(torch.float32, torch.float64)):
        y = audio if gain is None else audio * _curve(gain, gain_before, audio.shape[-1], block_size, skip)
        return y if offset is None else y + _curve(offset, offset_before, audio.shape[-1], block_size, skip)
    one = torch.ones_like(present[0]) if gain is None else gain
    zero = torch.zeros_like(present[0]) if offset is None else offset
    ends = one if gain_before is None else gain_before, one, zero if offset_before is None else offset_before, zero
    output: Tensor = _Ramp.apply(audio.contiguous(), torch.stack(ends, dim=1), blocks)  # type: ignore[no-untyped-call]
    return output


def _curve(value: Tensor, before: Tensor | None, time: int, block_size: int, skip: int) -> Tensor:
    """Return the gain or offset at each sample, (batch, time), from v (`value`) and u (`before`) of `ramp`."""
    held = Steps(value, skip, block_size).over(time)
    if before is None:
        return held
    start = Steps(before, skip, block_size).over(time)
    place = torch.arange(skip, skip + time, device=value.device).flip(0) % block_size  # samples up to the block's end
    return start + (held - start) * ((block_size - place).to(value) / block_size)


class _Ramp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, audio: Tensor, ends: Tensor, blocks: Frames) -> Tensor:
        ctx.save_for_backward(audio, ends)
        ctx.blocks = blocks
        return kernel.forward(audio, ends, blocks)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        audio, ends = ctx.saved_tensors
        gradients = kernel.backward(gradient.contiguous(), audio, ends, ctx.blocks)
        return *(g if need else None for g, need in zip(gradients, ctx.needs_input_grad, strict=False)), None
