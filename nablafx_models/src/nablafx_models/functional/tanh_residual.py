"""tanh plus a residual, as a differentiable function that keeps one signal less for its gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nablafx_core.kernels.choice import traced


def tanh_residual(y: Tensor, x: Tensor, gain: Tensor) -> Tensor:
    """out[c, t] = tanh(y[c, t]) + gain[c] x[c, t].

    Differentiable once; a trace records torch's operations instead.

    Args:
        y: (batch, channels, time).
        x: (batch, channels, time).
        gain: (channels, 1).

    Returns:
        (batch, channels, time).
    """
    if torch.is_grad_enabled() and not traced():
        out: Tensor = _TanhResidual.apply(y, x, gain)  # type: ignore[no-untyped-call]
        return out
    return torch.addcmul(torch.tanh(y), x, gain)


class _TanhResidual(torch.autograd.Function):
    """`tanh_residual` without keeping tanh(y) for the gradients, which compute it again as out - gain x.

    `out` and x are in memory anyway: `out` enters the next layer, and x entered this one. The difference has the
    rounding error of `out`.
    """

    @staticmethod
    def forward(ctx: Any, y: Tensor, x: Tensor, gain: Tensor) -> Tensor:
        out = torch.addcmul(torch.tanh(y), x, gain)
        ctx.save_for_backward(out, x, gain)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        out, x, gain = ctx.saved_tensors
        gradient = gradients[0]
        grad_y = grad_x = grad_gain = None
        if ctx.needs_input_grad[0]:
            tanh = torch.addcmul(out, x, gain, value=-1)
            grad_y = torch.ops.aten.tanh_backward.grad_input(gradient, tanh, grad_input=tanh)
        if ctx.needs_input_grad[1]:
            grad_x = gradient * gain
        if ctx.needs_input_grad[2]:
            rows = (signal.transpose(0, 1).flatten(1) for signal in (gradient, x))
            grad_gain = torch.linalg.vecdot(*rows)[:, None]
        return grad_y, grad_x, grad_gain
