"""The Wright omega function."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nablafx_core.kernels.choice import compiled_for
from nablafx_dsp.kernels import wright_omega as kernel


def wright_omega(z: Tensor) -> Tensor:
    """Return the solution w > 0 of w + log w = z for each element of a real z.

    Two steps of the iteration by Fritsch, Shafer and Crowley ("Solution of the transcendental equation w e^w = x",
    Communications of the ACM 16, 1973) from an approximation reach the precision of float64. float32 and float64 on the
    CPU run compiled, in float64; everything else runs in torch's operations in the dtype of z.

    Differentiable any number of times: w' = w / (1 + w).
    """
    omega: Tensor = _WrightOmega.apply(z)  # type: ignore[no-untyped-call]
    return omega


class _WrightOmega(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        compiled = compiled_for(z, dtypes=(torch.float32, torch.float64))
        w = kernel.forward(z) if compiled else _in_torch(z)
        ctx.save_for_backward(w)
        return w

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (w,) = ctx.saved_tensors
        slope: Tensor = torch.where(w < 1, w / (1 + w), 1 - 1 / (1 + w))  # the second form is 1 at infinity, not NaN
        return gradient * slope


def _in_torch(value: Tensor) -> Tensor:
    z = value.clamp(kernel.LOWEST, kernel.HIGHEST)
    near = z - 1
    w = 1 + near / 2 + near.square() / 16 - near**3 / 192
    w = torch.where(z < kernel.SERIES_FROM, torch.exp(z.clamp(max=0)), w)
    w = torch.where(z > kernel.SERIES_TO, z - z.clamp(min=1).log(), w)
    for _ in range(2):
        rest = z - w - w.log()
        twice = 2 * (1 + w) * (1 + w + 2 * rest / 3)
        w = w * (1 + rest / (1 + w) * (twice - rest) / (twice - 2 * rest))
    w = torch.where(value < kernel.LOWEST, torch.exp(value), w)
    far = torch.where(value < torch.inf, value - value.clamp(min=1).log(), value)
    return torch.where(value > kernel.HIGHEST, far, w)
