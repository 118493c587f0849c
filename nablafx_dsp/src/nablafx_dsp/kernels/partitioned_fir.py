"""Products of the spectra of blocks and of the parts of an impulse response, on the CPU.

Spectra have separate planes of real and imaginary parts, (..., 2, bins), which the compiler vectorises; it does not
vectorise interleaved parts.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nablafx_core.kernels.compiled import compiled, inlined
from nablafx_core.kernels.pool import for_each


def forward(blocks: Tensor, parts: Tensor) -> Tensor:
    """Compute Y[c] = sum over p of parts[p] blocks[c + P - 1 - p] for P parts, adding complex products in order of p.

    Args:
        blocks: (batch, count + parts - 1, 2, bins), float32 or float64, the oldest first.
        parts: (batch or 1, parts, 2, bins), of the same dtype.

    Returns:
        (batch, count, 2, bins).
    """
    batch, length, _, bins = blocks.shape
    output = blocks.new_zeros(batch, length - parts.shape[1] + 1, 2, bins)
    x, h, y = blocks.numpy(), parts.numpy(), output.numpy()
    for_each(batch, lambda n: _forward(x[n], h[n if len(h) > 1 else 0], y[n]))
    return output


def backward(gradient: Tensor, blocks: Tensor, parts: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the gradients of blocks and parts: sums of products of g and the conjugate of the other factor.

    Args:
        gradient: g, gradient of the result of `forward`, (batch, count, 2, bins).
        blocks, parts: arguments of `forward`.

    Returns:
        The gradients, of the shapes of blocks and parts.
    """
    grad_blocks, grad_parts = torch.zeros_like(blocks), parts.new_zeros(len(blocks), *parts.shape[1:])
    g, x, h, dx, dh = (t.numpy() for t in (gradient, blocks, parts, grad_blocks, grad_parts))
    for_each(len(x), lambda n: _backward(g[n], x[n], h[n if len(h) > 1 else 0], dx[n], dh[n]))
    return grad_blocks, grad_parts if len(parts) > 1 else grad_parts.sum(0, keepdim=True)


@compiled
def _forward(blocks: Any, parts: Any, output: Any) -> None:
    last = parts.shape[0] - 1
    for c in range(output.shape[0]):
        re, im = output[c, 0], output[c, 1]
        for p in range(parts.shape[0]):
            a, b, x, y = parts[p, 0], parts[p, 1], blocks[c + last - p, 0], blocks[c + last - p, 1]
            for i in range(re.shape[0]):
                re[i] += a[i] * x[i] - b[i] * y[i]
                im[i] += a[i] * y[i] + b[i] * x[i]


@compiled
def _backward(gradient: Any, blocks: Any, parts: Any, grad_blocks: Any, grad_parts: Any) -> None:
    last = parts.shape[0] - 1
    for c in range(gradient.shape[0]):
        for p in range(parts.shape[0]):
            _add_conjugate(grad_blocks[c + last - p], parts[p], gradient[c])
            _add_conjugate(grad_parts[p], blocks[c + last - p], gradient[c])


@inlined
def _add_conjugate(total: Any, other: Any, gradient: Any) -> None:
    re, im, a, b, g, h = total[0], total[1], other[0], other[1], gradient[0], gradient[1]
    for i in range(re.shape[0]):
        re[i] += a[i] * g[i] + b[i] * h[i]
        im[i] += a[i] * h[i] - b[i] * g[i]
