"""Prepare blocks of audio for a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from nablafx_core.interfaces import Model


def like_of(model: Model) -> Tensor:
    """Return a tensor with the dtype and the device of the model's weights, which its audio must have.

    A model without weights of floating-point numbers gets float32 on the CPU.
    """
    return next((weight for weight in model.parameters() if weight.is_floating_point()), torch.zeros(()))


def regrouped(blocks: Iterable[Tensor], size: int) -> Iterator[Tensor]:
    """Yield the samples of blocks (..., time) in pieces of `size` samples; the last piece may be shorter."""
    held: list[Tensor] = []
    count = 0
    for block in blocks:
        held.append(block)
        count += block.shape[-1]
        if count < size:
            continue
        joined = torch.cat(held, dim=-1)
        whole = count - count % size
        yield from (joined[..., start : start + size] for start in range(0, whole, size))
        held, count = [joined[..., whole:]], count - whole
    if count:
        yield torch.cat(held, dim=-1)
