"""Modulation by steps, alone and after a dilated convolution, as differentiable functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from nablafx_core.kernels.choice import compiled_for
from nablafx_core.kernels.pool import for_each
from nablafx_core.steps import BlockStep, Steps
from nablafx_models.functional.dilated_convolution import (
    ACTIVATION_NUMBERS,
    Array,
    ConvolutionSettings,
    FusedActivation,
    PartsRequest,
    _convolution_parts,
    apply_activation,
    contiguous_in_time,
    flat_array,
)
from nablafx_models.kernels import modulation as loops


class ModulationSettings(NamedTuple):
    """Extent and activation of one call of `modulated`.

    Args:
        samples: number of samples to modulate, from the first one on.
        block_size: number of samples over which a step is held.
        skip: number of samples of the last block that come after the modulated samples.
        activation: see `ConvolutionSettings`.
    """

    samples: int
    block_size: int
    skip: int
    activation: FusedActivation


def modulated(features: Tensor, steps: Steps, count: int, activation: FusedActivation = "identity") -> Tensor:
    """Modulate features by steps and apply the activation.

    y[o, t] = act(g[o, b(t)] x[o, t] + h[o, b(t)]), where b(t) is the block that contains t.

    float32 on the CPU runs compiled, forward and backward, with one thread per item of the batch. Everything else, and
    second derivatives, use torch's operations.

    Args:
        features: x, (batch, channels, at least `count`).
        steps: g of all channels and then h of all channels, (batch, 2 channels, blocks), for the first `count` samples;
            the last block ends `steps.skip` samples after them.
        count: number of samples to modulate.
        activation: see `ConvolutionSettings`; a gate halves the number of channels.

    Returns:
        (batch, channels, count).
    """
    return _modulated(features, steps, count, activation, None, None)


def modulated_convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    settings: ConvolutionSettings,
    gain: Tensor | None,
    request: PartsRequest,
    modulate: Callable[[Tensor, Tensor | None], BlockStep],
) -> tuple[Tensor, BlockStep, Tensor]:
    """Convolve, modulate, apply the activation and add the residual.

    y[o, t] = act(g[o, b(t)] f[o, t] + h[o, b(t)]) + gain[o] x[r(o), t + start]

    with f[o, t] = bias[o] + sum over c, k of weight[o, c, k] x[c, t + k dilation], r(o) = o in_channels // channels,
    and b(t) the block that contains t. It runs compiled where `dilated_convolution` does.

    Args:
        x, weight, bias, settings, gain: as in `dilated_convolution`.
        request: number of samples of y, and the blocks whose maxima `modulate` needs.
        modulate: function of the features f, (batch, out_channels, length - (taps - 1) dilation), and their maxima over
            blocks, (batch, out_channels, blocks) or None; it returns the features to modulate, at least
            request.residual_samples of them, and the steps of this many.

    Returns:
        y, (batch, channels, request.residual_samples); the result of `modulate`; and a copy of the samples of x from
        index request.residual_samples on.
    """
    parts = _convolution_parts(x, weight, bias, settings._replace(activation="identity"), gain, request)
    step = modulate(parts.features, parts.maxima)
    y = _modulated(step.signal, step.steps, request.residual_samples, settings.activation, parts.residual, gain)
    return y, step, parts.rest


def _modulated(
    features: Tensor,
    steps: Steps,
    count: int,
    activation: FusedActivation,
    residual: Tensor | None,
    gain: Tensor | None,
) -> Tensor:
    """Compute `modulated` and add gain times the residual.

    Args:
        features, steps, count, activation: as in `modulated`.
        residual: signal to multiply by the gain and add, of any shape that becomes that of y when its middle dimensions
            are flattened; None for no residual. Its gradient is that of the product with the gain, as
            `_convolution_parts` needs it.
        gain: (channels of y,), or None for no residual; it receives no gradient here.
    """
    settings = ModulationSettings(count, steps.block_size, steps.skip, activation)
    gain = None if gain is None else gain.detach()
    given = tuple(t for t in (features, steps.values, residual, gain) if t is not None)
    if not compiled_for(*given) or not count:
        return modulated_torch(features, steps.values, residual, gain, settings)
    out: Tensor = _Modulation.apply(  # type: ignore[no-untyped-call]
        contiguous_in_time(features), steps.values.contiguous(), residual, gain, settings
    )
    return out


def modulated_torch(
    features: Tensor, steps: Tensor, residual: Tensor | None, gain: Tensor | None, settings: ModulationSettings
) -> Tensor:
    """Compute `_modulated` with torch's operations; `steps` are the values of its steps."""
    held = Steps(steps, settings.skip, settings.block_size).over(settings.samples)
    scale, shift = held.chunk(2, dim=1)
    y = apply_activation(torch.addcmul(shift, features[..., : settings.samples], scale), settings.activation)
    if residual is None or gain is None:
        return y
    passed = residual.flatten(1, -2)
    # The value is gain times the residual; the gradient is that of the product.
    return y + (passed + (gain[:, None] - 1) * passed.detach())


class _Modulation(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        steps: Tensor,
        residual: Tensor | None,
        gain: Tensor | None,
        settings: ModulationSettings,
    ) -> Tensor:
        batch, rows, _ = features.shape
        channels = rows // 2 if settings.activation == "gate" else rows
        like = features if features.stride(0) >= features.stride(1) else features.transpose(0, 1)
        shape = (batch, channels) if like is features else (channels, batch)
        out = features.new_empty(*shape, settings.samples)
        if like is not features:  # keep the memory order that state-space layers write and read
            out = out.transpose(0, 1)
        grid = _grid(steps, settings)
        loop = loops.FORWARD[ACTIVATION_NUMBERS[settings.activation]]
        gains = np.empty(0, np.float32) if gain is None else gain.contiguous().numpy()

        def item(n: int) -> None:
            x, starts = _rows(features[n])
            r, begins = (np.empty(0, np.float32), np.empty(0, np.int64)) if residual is None else _rows(residual[n])
            y, targets = _rows(out[n])
            loop(x, starts, flat_array(steps[n]), grid, settings.samples, gains, r, begins, y, targets)

        for_each(batch, item)
        ctx.save_for_backward(features, steps, residual, gain)
        ctx.settings = settings
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        features, steps, residual, _ = ctx.saved_tensors
        settings, grad = ctx.settings, contiguous_in_time(gradients[0])
        grad_residual = None if residual is None else grad.view(residual.shape)
        if torch.is_grad_enabled():
            needed = [t for t, need in zip((features, steps), ctx.needs_input_grad, strict=False) if need]
            out = modulated_torch(features, steps, None, None, settings)
            grads = iter(torch.autograd.grad(out, needed, grad, create_graph=True))
            return *(next(grads) if need else None for need in ctx.needs_input_grad[:2]), grad_residual, None, None
        grad_features = torch.empty_like(features)
        grad_features[..., settings.samples :] = 0
        loop = loops.BACKWARD[ACTIVATION_NUMBERS[settings.activation]]
        grad_steps, grid = torch.zeros_like(steps), _grid(steps, settings)

        def item(n: int) -> None:
            g, sources = _rows(grad[n])
            x, starts = _rows(features[n])
            into, targets = _rows(grad_features[n])
            held, summed = flat_array(steps[n]), flat_array(grad_steps[n])
            loop(g, sources, x, starts, held, grid, settings.samples, into, targets, summed)

        for_each(len(features), item)
        return grad_features, grad_steps, grad_residual, None, None


def _grid(steps: Tensor, settings: ModulationSettings) -> tuple[int, int, int, int]:
    """Return the `grid` argument of the compiled loops; see `nablafx_models.kernels.modulation`."""
    blocks = steps.shape[-1]
    covered = -(-(settings.samples + settings.skip) // settings.block_size)
    lead = covered * settings.block_size - settings.samples - settings.skip
    return settings.block_size, lead, blocks - covered, blocks


def _rows(item: Tensor) -> tuple[Array, Any]:
    """Return an item (..., time) as a flat array, and the index at which each of its channels begins."""
    starts = np.zeros(1, np.int64)
    for length, stride in zip(item.shape[:-1], item.stride()[:-1], strict=True):
        starts = (starts[:, None] + stride * np.arange(length)).ravel()
    size = int(starts[-1]) + item.shape[-1]
    array: Array = item.detach().as_strided((size,), (1,)).numpy()
    return array, starts
