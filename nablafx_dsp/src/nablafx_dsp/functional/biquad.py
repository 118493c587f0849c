"""The second-order recursive filter as a differentiable function with state."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nablafx_core.errors import ModelError
from nablafx_dsp.kernels import biquad as recursion
from nablafx_dsp.kernels import biquad_scan as scan


def biquad(audio: Tensor, coefficients: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Second-order filter, transposed direct form II, exact also where its coefficients move.

    y = b0 x + z1;  z1' = b1 x - a1 y + z2;  z2' = b2 x - a2 y

    Differentiable once, in audio, coefficients and state, through the output and through the final state, so that
    truncated backpropagation may carry gradients across chunks.

    Args:
        audio: (batch, time), float32 or float64.
        coefficients: b0, b1, b2, a1, a2 with a0 = 1, shape (batch, 5, time), or (batch, 5, 1) where they stand still.
        state: z1 and z2, (batch, 2); zero if None.

    Returns:
        The output (batch, time) and the state after it (batch, 2), in float64 (float32 on MPS).

    Raises:
        ModelError: if the shapes do not belong together.
    """
    batch, time = audio.shape
    if coefficients.shape[:2] != (batch, 5) or coefficients.shape[2] not in (1, time):
        raise ModelError(
            f"biquad: coefficients of shape ({batch}, 5, 1) or ({batch}, 5, {time}) belong to audio of shape "
            f"{tuple(audio.shape)}, not {tuple(coefficients.shape)}."
        )
    wide = wide_dtype(audio.device)
    state = audio.new_zeros(batch, 2) if state is None else state
    output, final = _Biquad.apply(audio, coefficients.to(wide), state.to(audio.device, wide))  # type: ignore[no-untyped-call]
    return output, final


def wide_dtype(device: torch.device) -> torch.dtype:
    """float64 where the device has it: what coefficients and states are computed in."""
    return torch.float32 if device.type == "mps" else torch.float64


class _Biquad(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, audio: Tensor, coefficients: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        ctx.engine = recursion if audio.device.type == "cpu" else scan
        output, final = ctx.engine.forward(audio, coefficients, state)
        ctx.save_for_backward(audio, coefficients, output)
        return output, final

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor, grad_final: Tensor) -> tuple[Tensor | None, ...]:
        audio, coefficients, output = ctx.saved_tensors
        gradients = ctx.engine.backward(grad_output, grad_final, audio, output, coefficients)
        return tuple(g if needed else None for g, needed in zip(gradients, ctx.needs_input_grad, strict=True))
