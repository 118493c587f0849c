"""Maxima of blocks of samples."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def block_maxima(signal: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return the maximum of each block, and the signal in blocks; the gradients of both are added in one pass.

    The gradient of a maximum belongs to one of the samples that have this value. Gradients of gradients are
    unsupported.

    Args:
        signal: signal of a whole number of blocks, (batch, channels, time).
        size: number of samples in a block.

    Returns:
        Maxima, (batch, channels, blocks), and the signal, (batch, channels, blocks, size).
    """
    blocks = signal.reshape(*signal.shape[:-1], -1, size)
    if not blocks.numel():
        return blocks.amax(dim=-1), blocks
    maxima, same = _Maxima.apply(blocks)  # type: ignore[no-untyped-call]
    return maxima, same


class _Maxima(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, blocks: Tensor) -> tuple[Tensor, Tensor]:
        maxima, places = blocks.max(dim=-1)
        ctx.save_for_backward(places)
        return maxima, blocks.view_as(blocks)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Return the gradient of the blocks: that of the second output plus, at each largest sample, its maximum's."""
        (places,) = ctx.saved_tensors
        return gradients[1].scatter_add(-1, places[..., None], gradients[0][..., None])
