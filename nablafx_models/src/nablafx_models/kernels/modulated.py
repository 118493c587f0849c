"""A modulation by steps, its activation and its residual as one differentiable function."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from nablafx_core.kernels.choice import compiled_for
from nablafx_core.kernels.pool import for_each
from nablafx_core.steps import Steps
from nablafx_models.kernels import modulation as loops
from nablafx_models.kernels.dilated import NUMBERS, ActivationName, Array, activated, flat, in_rows


class Settings(NamedTuple):
    """What is done to the features, beside the steps.

    Args:
        samples: of the features that are used, from the first one on.
        block_size: samples over which a step is held.
        skip: samples of the last block that come after the features that are used.
        activation: see `dilated`.
    """

    samples: int
    block_size: int
    skip: int
    activation: ActivationName


def modulated(
    features: Tensor,
    steps: Steps,
    count: int,
    activation: ActivationName = "identity",
    residual: Tensor | None = None,
    gain: Tensor | None = None,
) -> Tensor:
    """y[o, t] = act(g[o, b(t)] x[o, t] + h[o, b(t)]) + gain[o] r[o, t], with b(t) the block that t lies in.

    float32 on the CPU runs compiled, forward and backward, on one thread per item of the batch; everything else, and
    derivatives of second order, as torch's operations.

    Args:
        features: x, (batch, channels, at least `count`).
        steps: g and h, (batch, 2 channels, blocks), for the first `count` samples.
        count: samples.
        activation: see `dilated`; a gate leaves half of the channels.
        residual: r, any shape that is that of y when its middle dimensions are flattened. Its gradient is that of
            gain r, not of r: `Parted`, where it comes from, multiplies it by the gain in a pass that it makes anyway.
        gain: (channels of y,), or None for no residual; it has no gradient here.

    Returns:
        (batch, channels, count).
    """
    settings = Settings(count, steps.block_size, steps.skip, activation)
    gain = None if gain is None else gain.detach()
    given = tuple(t for t in (features, steps.values, residual, gain) if t is not None)
    if not compiled_for(*given) or not count:
        return textbook(features, steps.values, residual, gain, settings)
    out: Tensor = _Modulated.apply(  # type: ignore[no-untyped-call]
        in_rows(features), steps.values.contiguous(), residual, gain, settings
    )
    return out


def textbook(
    features: Tensor, steps: Tensor, residual: Tensor | None, gain: Tensor | None, settings: Settings
) -> Tensor:
    """`modulated` in torch's operations."""
    held = Steps(steps, settings.skip, settings.block_size).over(settings.samples)
    scale, shift = held.chunk(2, dim=1)
    y = activated(torch.addcmul(shift, features[..., : settings.samples], scale), settings.activation)
    if residual is None or gain is None:
        return y
    passed = residual.flatten(1, -2)
    # Its gradient is that of the product with the gain.
    return y + (passed + (gain[:, None] - 1) * passed.detach())


class _Modulated(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, features: Tensor, steps: Tensor, residual: Tensor | None, gain: Tensor | None, settings: Settings
    ) -> Tensor:
        batch, rows, _ = features.shape
        channels = rows // 2 if settings.activation == "gate" else rows
        like = features if features.stride(0) >= features.stride(1) else features.transpose(0, 1)
        shape = (batch, channels) if like is features else (channels, batch)
        out = features.new_empty(*shape, settings.samples)
        if like is not features:  # as a state-space layer leaves it and the next one reads it
            out = out.transpose(0, 1)
        grid = _grid(steps, settings)
        loop = loops.FORWARD[NUMBERS[settings.activation]]
        gains = np.empty(0, np.float32) if gain is None else gain.contiguous().numpy()

        def item(n: int) -> None:
            x, starts = _rows(features[n])
            r, begins = (np.empty(0, np.float32), np.empty(0, np.int64)) if residual is None else _rows(residual[n])
            y, targets = _rows(out[n])
            loop(x, starts, flat(steps[n]), grid, settings.samples, gains, r, begins, y, targets)

        for_each(batch, item)
        ctx.save_for_backward(features, steps, residual, gain)
        ctx.settings = settings
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        features, steps, residual, _ = ctx.saved_tensors
        settings, grad = ctx.settings, in_rows(gradients[0])
        of_residual = None if residual is None else grad.view(residual.shape)
        if torch.is_grad_enabled():
            needed = [t for t, need in zip((features, steps), ctx.needs_input_grad, strict=False) if need]
            out = textbook(features, steps, None, None, settings)
            grads = iter(torch.autograd.grad(out, needed, grad, create_graph=True))
            return *(next(grads) if need else None for need in ctx.needs_input_grad[:2]), of_residual, None, None
        of_features = torch.empty_like(features)
        of_features[..., settings.samples :] = 0
        loop = loops.BACKWARD[NUMBERS[settings.activation]]
        of_steps, grid = torch.zeros_like(steps), _grid(steps, settings)

        def item(n: int) -> None:
            g, sources = _rows(grad[n])
            x, starts = _rows(features[n])
            into, targets = _rows(of_features[n])
            loop(g, sources, x, starts, flat(steps[n]), grid, settings.samples, into, targets, flat(of_steps[n]))

        for_each(len(features), item)
        return of_features, of_steps, of_residual, None, None


def _grid(steps: Tensor, settings: Settings) -> tuple[int, int, int, int]:
    """What the loops call so."""
    blocks = steps.shape[-1]
    covered = -(-(settings.samples + settings.skip) // settings.block_size)
    lead = covered * settings.block_size - settings.samples - settings.skip
    return settings.block_size, lead, blocks - covered, blocks


def _rows(item: Tensor) -> tuple[Array, Any]:
    """All of an item (..., time), and where in it each of its channels begins."""
    starts = np.zeros(1, np.int64)
    for length, stride in zip(item.shape[:-1], item.stride()[:-1], strict=True):
        starts = (starts[:, None] + stride * np.arange(length)).ravel()
    size = int(starts[-1]) + item.shape[-1]
    array: Array = item.detach().as_strided((size,), (1,)).numpy()
    return array, starts
