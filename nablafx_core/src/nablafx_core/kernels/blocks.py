"""Blocks of samples: their maxima, and scaling and shifting them, each with its gradient in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from nablafx_core.kernels.choice import compiled_for
from nablafx_core.kernels.compiled import compiled


def block_maxima(signal: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The maximum of each block, and the signal again, for which the gradients of both are put together in one pass.

    Args:
        signal: (batch, channels, time), a whole number of blocks.
        size: samples of a block.

    Returns:
        (batch, channels, blocks), and the signal as (batch, channels, blocks, size).
    """
    blocks = signal.reshape(*signal.shape[:-1], -1, size)
    if not blocks.numel():
        return blocks.amax(dim=-1), blocks
    maxima, same = _Maxima.apply(blocks)  # type: ignore[no-untyped-call]
    return maxima, same


def scaled_and_shifted(blocks: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """scale x + shift in each block.

    Args:
        blocks: (batch, channels, blocks, size).
        scale, shift: (batch, channels, blocks).
    """
    if not compiled_for(blocks, scale, shift, dtypes=(torch.float32, torch.float64)) or not blocks.numel():
        return torch.addcmul(shift[..., None], blocks, scale[..., None])
    out: Tensor = _Affine.apply(blocks, scale, shift)  # type: ignore[no-untyped-call]
    return out


class _Maxima(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, blocks: Tensor) -> tuple[Tensor, Tensor]:
        maxima, places = blocks.max(dim=-1)
        ctx.save_for_backward(places)
        return maxima, blocks.view_as(blocks)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """One gradient goes to each block's largest sample, the other to all; see `block_maxima`."""
        (places,) = ctx.saved_tensors
        return gradients[1].scatter_add(-1, places[..., None], gradients[0][..., None])


class _Affine(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, blocks: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        ctx.save_for_backward(blocks, scale)
        return torch.addcmul(shift[..., None], blocks, scale[..., None])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        blocks, scale = (tensor.contiguous() for tensor in ctx.saved_tensors)
        gradient = gradients[0].contiguous()
        of_blocks, of_scale, of_shift = torch.empty_like(gradient), torch.empty_like(scale), torch.empty_like(scale)
        size = gradient.shape[-1]
        flat = [tensor.view(-1, size) for tensor in (gradient, blocks, of_blocks)]
        vectors = [tensor.view(-1) for tensor in (scale, of_scale, of_shift)]
        _affine_back(*(_array(tensor) for tensor in (*flat, *vectors)))  # type: ignore[no-untyped-call]
        return of_blocks, of_scale, of_shift


def _array(tensor: Tensor) -> np.ndarray[Any, Any]:
    return tensor.detach().numpy()


@compiled
def _affine_back(gradient, blocks, of_blocks, scale, of_scale, of_shift):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    lanes = 16
    for row in range(gradient.shape[0]):
        g, x, out, factor = gradient[row], blocks[row], of_blocks[row], scale[row]
        products, sums = np.zeros(lanes, g.dtype), np.zeros(lanes, g.dtype)
        whole = g.shape[0] // lanes * lanes
        for start in range(0, whole, lanes):
            gs, xs, os = g[start : start + lanes], x[start : start + lanes], out[start : start + lanes]
            for i in range(lanes):
                os[i] = gs[i] * factor
                products[i] += gs[i] * xs[i]
                sums[i] += gs[i]
        for i in range(whole, g.shape[0]):
            out[i] = g[i] * factor
            products[0] += g[i] * x[i]
            sums[0] += g[i]
        of_scale[row], of_shift[row] = products.sum(), sums.sum()
