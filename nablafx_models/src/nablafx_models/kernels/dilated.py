"""A dilated convolution, its activation and its residual as one differentiable function."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from nablafx_core.kernels.choice import compiled_for
from nablafx_core.kernels.simd import REGISTER_LANES
from nablafx_core.kernels.threads import for_each
from nablafx_models.kernels import convolution as loops

ActivationName = Literal["identity", "tanh", "gate"]
_NUMBERS = {"identity": loops.IDENTITY, "tanh": loops.TANH, "gate": loops.GATE}


class Settings(NamedTuple):
    """What a dilated convolution is, beside its weights.

    Args:
        dilation: samples between taps.
        activation: ``"tanh"``; ``"gate"``, tanh of the first half of the channels times sigmoid of the second; or
            ``"identity"``.
        residual_start: the sample of x that is added to the first sample of y.
    """

    dilation: int
    activation: ActivationName = "identity"
    residual_start: int = 0


def dilated(x: Tensor, weight: Tensor, bias: Tensor | None, settings: Settings, gain: Tensor | None = None) -> Tensor:
    """y[o, t] = act(bias[o] + sum over c, k of weight[o, c, k] x[c, t + k dilation]) + gain[o] x[r(o), t + start]

    with r(o) = o in_channels // channels; without padding, so that y is (taps - 1) dilation samples shorter than x.

    float32 on the CPU runs compiled, forward and backward, on one thread per item of the batch; everything else, and
    derivatives of second order, as torch's convolution.

    Args:
        x: (batch, in_channels, length), longer than (taps - 1) dilation.
        weight: (out_channels, in_channels, taps).
        bias: (out_channels,) or None.
        settings: of the convolution.
        gain: of the residual, (channels,), where channels, those after the gate, are a multiple of in_channels; None
            for no residual.

    Returns:
        (batch, channels, length - (taps - 1) dilation).
    """
    parameters = [t for t in (weight, bias, gain) if t is not None]
    if not compiled_for(x, *parameters):
        return textbook(x, weight, bias, settings, gain)
    keep = torch.is_grad_enabled() and any(t.requires_grad for t in (x, *parameters))
    out: Tensor = _Dilated.apply(_in_rows(x), weight, bias, gain, settings, keep)  # type: ignore[no-untyped-call]
    return out


def textbook(x: Tensor, weight: Tensor, bias: Tensor | None, settings: Settings, gain: Tensor | None = None) -> Tensor:
    """`dilated` in torch's operations."""
    y = F.conv1d(x, weight, bias, dilation=settings.dilation)
    if settings.activation == "tanh":
        y = torch.tanh(y)
    elif settings.activation == "gate":
        a, b = y.chunk(2, dim=1)
        y = torch.tanh(a) * torch.sigmoid(b)
    if gain is None:
        return y
    start = settings.residual_start
    residual = x[..., start : start + y.shape[-1]]
    if y.shape[1] != x.shape[1]:
        residual = residual.repeat_interleave(y.shape[1] // x.shape[1], dim=1)
    return torch.addcmul(y, gain[:, None], residual)


class _Dilated(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, gain: Tensor | None, settings: Settings, keep: bool
    ) -> Tensor:
        time = x.shape[-1] - (weight.shape[2] - 1) * settings.dilation
        gated = settings.activation == "gate"
        y = x.new_empty(x.shape[0], weight.shape[0] // (2 if gated else 1), time)
        wanted = keep and settings.activation != "identity"
        # A tanh that nothing is added to is the output itself.
        features = x.new_empty(x.shape[0], weight.shape[0], time) if wanted and (gated or gain is not None) else None
        packed, biases = _packed(weight), _filled(bias, weight)
        offsets = _offsets(weight, x.stride(1), settings.dilation)
        gains, starts = _residual(gain, x, settings)
        nothing = np.empty(0, np.float32)

        def item(n: int) -> None:
            kept = nothing if features is None else _flat(features[n])
            number = _NUMBERS[settings.activation]
            loops.forward(_flat(x[n]), offsets, packed, biases, number, gains, starts, time, kept, _flat(y[n]))

        for_each(x.shape[0], item)
        if keep:
            ctx.save_for_backward(x, weight, bias, gain, y if wanted and features is None else features)
            ctx.settings = settings
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, gain, features = ctx.saved_tensors
        if torch.is_grad_enabled():
            return _differentiable(ctx, gradients[0], x, weight, bias, gain)
        settings, grad_y = ctx.settings, gradients[0].contiguous()
        span, time = (weight.shape[2] - 1) * settings.dilation, grad_y.shape[-1]
        lead = -(-span // REGISTER_LANES) * REGISTER_LANES
        stride = lead + x.shape[-1] + (-x.shape[-1]) % loops.TILE
        grad_x = x.new_empty(x.shape) if ctx.needs_input_grad[0] else None
        mirrored = _packed(weight.transpose(0, 1).flip(2))
        zeros = _filled(None, weight.transpose(0, 1))
        into_grad = lead - span + _offsets(weight.transpose(0, 1), stride, settings.dilation)
        rows = lead + stride * np.arange(weight.shape[0])
        offsets = _offsets(weight, x.stride(1), settings.dilation)
        gains, starts = _residual(gain, x, settings)
        targets = _residual(gain, x, settings, x.shape[-1])[1]
        # What one item adds to the gradients of the weights: no other thread writes into it.
        sums = [
            (np.zeros((len(weight), weight[0].numel())), np.zeros(len(weight)), np.zeros(len(gains)))
            for _ in range(len(x))
        ]

        def item(n: int) -> None:
            inside = np.empty(stride * weight.shape[0], np.float32)
            _clear_margins(inside.reshape(-1, stride), lead, time)
            grad, signal = _flat(grad_y[n]), _flat(x[n])
            kept = np.empty(0, np.float32) if features is None else _flat(features[n])
            loops.before_activation(grad, _NUMBERS[settings.activation], kept, time, inside, lead, stride)
            loops.correlations(inside, rows, signal, offsets, time, sums[n][0])
            loops.totals(inside, rows, time, sums[n][1])
            loops.products(grad, time * np.arange(len(gains)), signal, starts, time, sums[n][2])
            if grad_x is not None:
                loops.input_gradient(
                    inside, into_grad, mirrored, zeros, grad, gains, targets, time, x.shape[-1], _flat(grad_x[n])
                )

        for_each(x.shape[0], item)
        grads = [torch.from_numpy(sum(values)).to(x.dtype) for values in zip(*sums, strict=True)]
        grad_bias = None if bias is None else grads[1]
        return grad_x, grads[0].view_as(weight), grad_bias, None if gain is None else grads[2], None, None


def _differentiable(ctx: Any, grad: Tensor, *inputs: Tensor | None) -> tuple[Tensor | None, ...]:
    """The gradients as functions that have gradients themselves."""
    x, weight, bias, gain = inputs
    assert x is not None and weight is not None
    needed = [t for t, need in zip(inputs, ctx.needs_input_grad[:4], strict=True) if need and t is not None]
    grads = iter(torch.autograd.grad(textbook(x, weight, bias, ctx.settings, gain), needed, grad, create_graph=True))
    return *(next(grads) if need else None for need in ctx.needs_input_grad[:4]), None, None


def _in_rows(x: Tensor) -> Tensor:
    """x, or a copy, with samples next to each other."""
    return x if x.stride(-1) == 1 else x.contiguous()


def _flat(item: Tensor) -> NDArray[np.float32]:
    """All that lies between the first and the last sample of an item (channels, time)."""
    size = (item.shape[0] - 1) * item.stride(0) + item.shape[1]
    array: NDArray[np.float32] = item.detach().as_strided((size,), (1,)).numpy()
    return array


def _packed(weight: Tensor) -> NDArray[np.float32]:
    """(rows / 4, in_channels * taps, 4), flat, in the order in which a tile reads them."""
    rows = F.pad(weight.detach().flatten(1), (0, 0, 0, -weight.shape[0] % loops.ROWS))
    array: NDArray[np.float32] = rows.view(-1, loops.ROWS, rows.shape[1]).mT.flatten().numpy()
    return array


def _filled(bias: Tensor | None, weight: Tensor) -> NDArray[np.float32]:
    """The bias, or zeros, for as many rows as `_packed` makes of the weights."""
    filled = np.zeros(weight.shape[0] + -weight.shape[0] % loops.ROWS, np.float32)
    if bias is not None:
        filled[: len(bias)] = bias.detach().numpy()
    return filled


def _offsets(weight: Tensor, stride: int, dilation: int) -> NDArray[np.int64]:
    """Of each term, input channel by input channel and in them tap by tap."""
    offsets = np.arange(weight.shape[1])[:, None] * stride + np.arange(weight.shape[2]) * dilation
    return offsets.ravel()


def _residual(
    gain: Tensor | None, x: Tensor, settings: Settings, stride: int | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Gains, and where each channel's residual begins among rows of that stride, or of x's."""
    if gain is None:
        return np.empty(0, np.float32), np.empty(0, np.int64)
    channels = np.arange(len(gain)) // (len(gain) // x.shape[1])
    starts = channels * (x.stride(1) if stride is None else stride) + settings.residual_start
    return gain.detach().contiguous().numpy(), starts


def _clear_margins(rows: NDArray[np.float32], lead: int, time: int) -> None:
    rows[:, :lead] = 0
    rows[:, lead + time :] = 0
