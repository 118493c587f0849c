"""tanh and what is added to it, of which one signal less is kept for the gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class TanhAndResidual(torch.autograd.Function):
    """out = tanh(y) + gain x, per channel.

    For the gradients tanh(y) is needed again. It is out - gain x, which are both there: the one enters the next layer,
    the other entered this one. It comes out with the rounding of `out`.
    """

    @staticmethod
    def forward(ctx: Any, y: Tensor, x: Tensor, gain: Tensor) -> Tensor:
        """Compute it.

        Args:
            ctx: torch's.
            y: (batch, channels, time).
            x: like y.
            gain: (channels, 1).
        """
        out = torch.addcmul(torch.tanh(y), x, gain)
        ctx.save_for_backward(out, x, gain)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of y, x and gain."""
        out, x, gain = ctx.saved_tensors
        gradient = gradients[0]
        of_y = of_x = of_gain = None
        if ctx.needs_input_grad[0]:
            tanh = torch.addcmul(out, x, gain, value=-1)
            of_y = torch.ops.aten.tanh_backward.grad_input(gradient, tanh, grad_input=tanh)
        if ctx.needs_input_grad[1]:
            of_x = gradient * gain
        if ctx.needs_input_grad[2]:
            rows = (signal.transpose(0, 1).flatten(1) for signal in (gradient, x))
            of_gain = torch.linalg.vecdot(*rows)[:, None]
        return of_y, of_x, of_gain
