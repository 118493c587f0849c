"""Gain and offset that are interpolated linearly over blocks, and their gradients, on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from nablafx_core.kernels.compiled import compiled, inlined
from nablafx_core.kernels.pool import for_each
from nablafx_dsp.frames import Frames


def forward(audio: Tensor, ends: Tensor, blocks: Frames) -> Tensor:
    """Compute y = (u + (v - u) w) x + (p + (q - p) w), with w = (i + 1) / n at sample i of a block of n.

    Args:
        audio: x, (batch, time), float32 or float64.
        ends: gain u before and v at the end, offset p before and q at the end of each block, (batch, 4, blocks), of the
            same dtype.
        blocks: position of the blocks over the audio.
    """
    output = torch.empty_like(audio)
    x, e, y = audio.numpy(), ends.numpy(), output.numpy()
    for_each(len(x), lambda n: _forward(x[n], e[n], y[n], blocks.block_size, blocks.first, blocks.lead))
    return output


def backward(gradient: Tensor, audio: Tensor, ends: Tensor, blocks: Frames) -> tuple[Tensor, Tensor]:
    """Compute the gradients of audio and of u, v, p and q, from the gradient g of the output.

    That of audio is (u + (v - u) w) g. Those of u, v, p and q are the sums over each block of g x (1 - w), g x w,
    g (1 - w) and g w.

    Args:
        gradient: g, (batch, time).
        audio, ends, blocks: arguments of `forward`.
    """
    grad_audio, grad_ends = torch.empty_like(audio), torch.zeros_like(ends)
    g, x, e, dx, de = (t.numpy() for t in (gradient, audio, ends, grad_audio, grad_ends))
    for_each(len(x), lambda n: _backward(g[n], x[n], e[n], dx[n], de[n], blocks.block_size, blocks.first, blocks.lead))
    return grad_audio, grad_ends


@compiled
def _forward(x: Any, ends: Any, y: Any, block_size: int, block: int, lead: int) -> None:
    start, one = 0, x.dtype.type(1)
    step = one / x.dtype.type(block_size)
    while start < x.shape[0]:
        piece, out = x[start : start + block_size - lead], y[start : start + block_size - lead]
        u, p = ends[0, block], ends[2, block]
        rise, climb = (ends[1, block] - u) * step, (ends[3, block] - p) * step
        for i in range(piece.shape[0]):
            place = x.dtype.type(np.int32(lead + i + 1))
            out[i] = (u + rise * place) * piece[i] + (p + climb * place)
        start, block, lead = start + block_size - lead, block + 1, 0


@compiled
def _backward(g: Any, x: Any, ends: Any, grad_x: Any, grad_ends: Any, block_size: int, block: int, lead: int) -> None:
    start, dtype = 0, x.dtype
    place = (np.arange(1, block_size + 1) / block_size).astype(dtype)
    whole, late, plain, plain_late = (
        np.empty(block_size, dtype),
        np.empty(block_size, dtype),
        np.empty(block_size, dtype),
        np.empty(block_size, dtype),
    )
    while start < x.shape[0]:
        stop = start + block_size - lead
        piece, h, out, w = x[start:stop], g[start:stop], grad_x[start:stop], place[lead:]
        u, rise = ends[0, block], ends[1, block] - ends[0, block]
        count = piece.shape[0]
        for i in range(count):
            out[i] = (u + rise * w[i]) * h[i]
            product = h[i] * piece[i]
            whole[i], late[i], plain[i], plain_late[i] = product, product * w[i], h[i], h[i] * w[i]
        grad_ends[1, block], grad_ends[3, block] = _sum(late, count), _sum(plain_late, count)
        grad_ends[0, block] = _sum(whole, count) - grad_ends[1, block]
        grad_ends[2, block] = _sum(plain, count) - grad_ends[3, block]
        start, block, lead = stop, block + 1, 0


@inlined
def _sum(values: Any, count: int) -> Any:
    """Return the sum of the first `count` values, added in pairs for speed and precision; overwrite the values."""
    while count > 1:
        half = (count + 1) // 2
        low, high = values[:half], values[half:count]
        for i in range(high.shape[0]):
            low[i] += high[i]
        count = half
    return values[0]
