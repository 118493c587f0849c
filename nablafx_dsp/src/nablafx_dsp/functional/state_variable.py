"""The state-variable filter as a differentiable function with state."""

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
from nablafx_dsp.kernels import state_variable as recursion


def state_variable_filter(
    audio: Tensor,
    g: Tensor,
    k: Tensor,
    mix: Tensor,
    state: Tensor | None = None,
    *,
    block_size: int = 1,
    skip: int = 0,
) -> tuple[Tensor, Tensor]:
    """Filter a signal by a second-order state-variable filter, which stays stable however g > 0 and k > 0 move.

    It is the trapezoidal rule applied to the analogue state-variable filter (Zavalishin, "The art of VA filter design",
    2018; Simper, "Linear trapezoidal integrated state variable filter", 2013). Each sample solves::

        band = s + g high;   low = r + g band;   high = x - k band - low
        s' = 2 band - s;     r' = 2 low - r;     y = mix . (low, band, high)

    float32 and float64 on the CPU run compiled and are differentiable once. Everything else is a parallel scan in
    torch's operations, within 1e-9 (float64) or, on devices without float64, 1e-3 of the peak.

    Args:
        audio: x, (batch, time).
        g: tan(pi cutoff_hz / sample_rate), (batch, frames): one frame, one per sample, or one per block.
        k: 1 / Q, (batch, frames).
        mix: weights of low, band and high, (batch, 3, frames). Each of g, k and mix may have a single frame instead.
        state: s and r before the first sample, (batch, 2); 0 if None.
        block_size: number of samples of a block.
        skip: number of samples of the last block that come after the signal.

    Returns:
        The output (batch, time) and the final state, (batch, 2), in float64 (float32 on MPS).

    Raises:
        ModelError: if the shapes of g, k and mix do not match the audio and each other, or their frames do not cover
            the audio.
    """
    (batch, time), wide = audio.shape, wide_dtype(audio.device)
    coefficients = _coefficients(g.to(wide), k.to(wide), mix.to(wide), batch)
    frames = frames_over(coefficients.shape[-1], time, block_size, skip)
    state = audio.new_zeros(batch, 2, dtype=wide) if state is None else state.to(audio.device, wide)
    if not time:
        return audio, state
    if compiled_for(audio, coefficients, state, dtypes=(torch.float32, torch.float64)):
        given = audio.contiguous(), coefficients, state
        keep = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given)
        output, final = _StateVariable.apply(*given, frames, keep)  # type: ignore[no-untyped-call]
        return output, final
    return _in_torch(audio, held(coefficients, time, block_size, skip), state)


def _coefficients(g: Tensor, k: Tensor, mix: Tensor, batch: int) -> Tensor:
    """Check the shapes of g, k and mix, and stack g, k, low, band and high on one grid, (batch, 5, frames)."""
    shapes = (g.shape, k.shape, (mix.shape[0], mix.shape[-1]))
    counts = {shape[-1] for shape in shapes} - {1}
    if any(len(shape) != 2 or shape[0] != batch for shape in shapes) or mix.shape[1:-1] != (3,) or len(counts) > 1:
        raise ModelError(
            f"state_variable_filter: expected g and k of shape ({batch}, frames) and mix of ({batch}, 3, frames), each "
            f"with 1 or the same number of frames, got {tuple(g.shape)}, {tuple(k.shape)} and {tuple(mix.shape)}."
        )
    count = max(shape[-1] for shape in shapes)
    parts = g[:, None], k[:, None], mix
    return torch.cat([part.expand(-1, -1, count) for part in parts], dim=1)


def _in_torch(audio: Tensor, coefficients: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Compute what `nablafx_dsp.kernels.state_variable` computes, in torch; coefficients are (batch, 5, time or 1)."""
    g, k, low, band, high = coefficients.unbind(1)
    h = 2 / (1 + g * (g + k))
    c1, c2, c3 = h - 1, g * h, g * g * h
    transition = torch.stack([torch.stack([c1, -c2], -1), torch.stack([c2, 1 - c3], -1)], -2)
    x = audio.to(coefficients.dtype)
    after = linear_recursion(transition, torch.stack([c2 * x, c3 * x], dim=-1), state)
    both = torch.cat([state[:, None], after[:, :-1]], dim=1) + after
    output = high * x + (band - k * high) / 2 * both[..., 0] + (low - high) / 2 * both[..., 1]
    return output.to(audio.dtype), after[:, -1]


class _StateVariable(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, audio: Tensor, coefficients: Tensor, state: Tensor, frames: Frames, keep: bool
    ) -> tuple[Tensor, Tensor]:
        output, states = recursion.forward(audio, coefficients, state, frames, keep)
        if keep:
            ctx.save_for_backward(audio, coefficients, states)
            ctx.frames = frames
        return output, states[:, -1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor, grad_final: Tensor) -> tuple[Tensor | None, ...]:
        audio, coefficients, states = ctx.saved_tensors
        gradients = recursion.backward(grad_output.contiguous(), grad_final, audio, coefficients, states, ctx.frames)
        return *(g if need else None for g, need in zip(gradients, ctx.needs_input_grad, strict=False)), None, None
