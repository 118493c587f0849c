"""A dilated convolution, its activation and its residual as one differentiable function."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from nablafx_core.kernels.block_maxima import largest
from nablafx_core.kernels.choice import compiled_for
from nablafx_core.kernels.pool import for_each
from nablafx_core.kernels.simd import REGISTER_LANES
from nablafx_models.kernels import convolution as loops

ActivationName = Literal["identity", "tanh", "gate"]
Array = NDArray[np.float32]
NUMBERS = {"identity": loops.IDENTITY, "tanh": loops.TANH, "gate": loops.GATE}


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


class Parts(NamedTuple):
    """A convolution, and what is made of it later.

    Args:
        features: conv(x) + bias, (batch, out_channels, length - (taps - 1) dilation).
        residual: what belongs to it in x, (batch, in_channels, channels // in_channels, samples that were asked for);
            None without gain.
        rest: a copy of what comes in x after the residual's number of samples, (batch, in_channels, time).
        maxima: of the features over blocks, (batch, out_channels, blocks); None if none were asked for.
    """

    features: Tensor
    residual: Tensor | None
    rest: Tensor
    maxima: Tensor | None


class Wanted(NamedTuple):
    """What `parted` is to give.

    Args:
        channels: of the residual.
        samples: of the residual.
        block_size: of the maxima; 0 for none.
        lead: samples of the first block that come before the features.
    """

    channels: int
    samples: int
    block_size: int = 0
    lead: int = 0


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
    if not _fast(x, weight, bias, gain):
        return textbook(x, weight, bias, settings, gain)
    keep = _keep(x, weight, bias, gain)
    out: Tensor = _Dilated.apply(in_rows(x), weight, bias, gain, settings, keep, None)[0]  # type: ignore[no-untyped-call]
    return out


def parted(
    x: Tensor, weight: Tensor, bias: Tensor | None, settings: Settings, gain: Tensor | None, wanted: Wanted
) -> Parts:
    """`dilated` up to its activation: another function is to modulate its features and to add the residual.

    That function multiplies the residual by the gain and hands back the gradient of the product, which is what
    comes to it, without a pass of its own; the gradients of x and of the gain are made from it here, where x is read
    and its gradient is written anyway. See `modulated`.

    Args:
        x, weight, bias, settings, gain: as in `dilated`; the activation is ``"identity"``.
        wanted: of the residual and the maxima.
    """
    if not _fast(x, weight, bias, gain):
        return _textbook_parts(x, weight, bias, settings, gain, wanted)
    keep = _keep(x, weight, bias, gain)
    return Parts(*_Dilated.apply(in_rows(x), weight, bias, gain, settings, keep, wanted))  # type: ignore[no-untyped-call]


def _fast(*tensors: Tensor | None) -> bool:
    return compiled_for(*(t for t in tensors if t is not None))


def _keep(*tensors: Tensor | None) -> bool:
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


def activated(y: Tensor, activation: ActivationName) -> Tensor:
    """An activation of `dilated` in torch's operations."""
    if activation == "tanh":
        return torch.tanh(y)
    if activation == "gate":
        a, b = y.chunk(2, dim=1)
        return torch.tanh(a) * torch.sigmoid(b)
    return y


def textbook(x: Tensor, weight: Tensor, bias: Tensor | None, settings: Settings, gain: Tensor | None = None) -> Tensor:
    """`dilated` in torch's operations."""
    y = activated(F.conv1d(x, weight, bias, dilation=settings.dilation), settings.activation)
    if gain is None:
        return y
    residual = _residual_view(x, settings, Wanted(y.shape[1], y.shape[-1])).flatten(1, 2)
    return torch.addcmul(y, gain[:, None], residual)


def _textbook_parts(
    x: Tensor, weight: Tensor, bias: Tensor | None, settings: Settings, gain: Tensor | None, wanted: Wanted
) -> Parts:
    """`parted` in torch's operations. Its residual has the value of x and the gradient of x times the gain."""
    y = F.conv1d(x, weight, bias, dilation=settings.dilation)
    residual = maxima = None
    if gain is not None:
        passed = _residual_view(x, settings, wanted)
        product = gain.view(passed.shape[1:3])[..., None] * passed
        residual = product + (passed - product).detach()
    if wanted.block_size:
        size, lead = wanted.block_size, wanted.lead
        padded = F.pad(y, (lead, -(lead + y.shape[-1]) % size), value=-torch.inf)
        maxima = padded.reshape(*padded.shape[:-1], -1, size).max(dim=-1).values
    return Parts(y, residual, x[..., wanted.samples :].clone(), maxima)


def _residual_view(x: Tensor, settings: Settings, wanted: Wanted) -> Tensor:
    """(batch, in_channels, channels // in_channels, samples), a view of x."""
    start = settings.residual_start
    part = x[..., start : start + wanted.samples].unsqueeze(2)
    return part.expand(-1, -1, wanted.channels // x.shape[1], -1)


class _Dilated(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        gain: Tensor | None,
        settings: Settings,
        keep: bool,
        wanted: Wanted | None,
    ) -> tuple[Tensor | None, ...]:
        time = x.shape[-1] - (weight.shape[2] - 1) * settings.dilation
        gated = settings.activation == "gate"
        y = x.new_empty(x.shape[0], weight.shape[0] // (2 if gated else 1), time)
        needed = keep and settings.activation != "identity"
        # A tanh that nothing is added to is the output itself.
        features = x.new_empty(x.shape[0], weight.shape[0], time) if needed and (gated or gain is not None) else None
        packed, biases = _packed(weight), _filled(bias, weight)
        offsets = _offsets(weight, x.stride(1), settings.dilation)
        gains, starts = _residual(gain if wanted is None else None, x, settings)
        nothing = np.empty(0, np.float32)
        maxima = places = residual = None
        if wanted is not None and wanted.block_size:
            blocks = -(-(wanted.lead + time) // wanted.block_size)
            maxima, places = y.new_empty(*y.shape[:2], blocks), torch.empty(*y.shape[:2], blocks, dtype=torch.int64)

        def item(n: int) -> None:
            kept = nothing if features is None else flat(features[n])
            number, out = NUMBERS[settings.activation], flat(y[n])
            loops.forward(flat(x[n]), offsets, packed, biases, number, gains, starts, time, kept, out)
            if maxima is not None and places is not None and wanted is not None:
                rows = np.arange(y.shape[1]) * time
                of_blocks = flat(maxima[n]), places[n].view(-1).numpy()
                largest(out, rows, time, wanted.block_size, wanted.lead, *of_blocks)

        for_each(x.shape[0], item)
        if keep:
            ctx.save_for_backward(x, weight, bias, gain, y if needed and features is None else features, places)
            ctx.settings, ctx.wanted = settings, wanted
            ctx.set_materialize_grads(False)
        if wanted is not None and gain is not None:
            residual = _residual_view(x, settings, wanted)
        return y, residual, None if wanted is None else x[..., wanted.samples :].clone(), maxima

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        x, weight, bias, gain, features, places = ctx.saved_tensors
        settings, wanted = ctx.settings, ctx.wanted
        if torch.is_grad_enabled():
            return _differentiable(ctx, gradients, x, weight, bias, gain)
        span = (weight.shape[2] - 1) * settings.dilation
        time = x.shape[-1] - span
        grad_y, grad_passed, grad_rest, grad_maxima = (
            gradients if wanted is not None else (gradients[0],) * 2 + (None,) * 2
        )
        grad_y = x.new_zeros(len(x), weight.shape[0], time) if grad_y is None else in_rows(grad_y)
        gain = None if grad_passed is None else gain
        grad_passed = in_rows(grad_passed.flatten(1, -2)) if grad_passed is not None and gain is not None else None
        passed = 0 if grad_passed is None else grad_passed.shape[-1]
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
        sources = np.arange(len(gains)) * (0 if grad_passed is None else grad_passed.stride(1))
        # What one item adds to the gradients of the weights: no other thread writes into it.
        sums = [
            (np.zeros((len(weight), weight[0].numel())), np.zeros(len(weight)), np.zeros(len(gains)))
            for _ in range(len(x))
        ]
        nothing = np.empty(0, np.float32)

        def item(n: int) -> None:
            inside = np.empty(stride * weight.shape[0], np.float32)
            _clear_margins(inside.reshape(-1, stride), lead, time)
            grad, signal = flat(grad_y[n]), flat(x[n])
            kept = nothing if features is None else flat(features[n])
            source = grad_y.stride(1), grad_y.shape[1]
            loops.before_activation(grad, source, NUMBERS[settings.activation], kept, time, inside, lead, stride)
            if grad_maxima is not None:
                _add_at(inside, rows, places[n], grad_maxima[n])
            beside = nothing if grad_passed is None else flat(grad_passed[n])
            loops.correlations(inside, rows, signal, offsets, time, sums[n][0])
            loops.totals(inside, rows, time, sums[n][1])
            loops.products(beside, sources, signal, starts, passed, sums[n][2])
            if grad_x is not None:
                loops.input_gradient(
                    inside,
                    into_grad,
                    mirrored,
                    zeros,
                    beside,
                    sources,
                    gains,
                    targets,
                    passed,
                    x.shape[-1],
                    flat(grad_x[n]),
                )

        for_each(x.shape[0], item)
        if grad_rest is not None and grad_x is not None:
            grad_x[..., grad_x.shape[-1] - grad_rest.shape[-1] :] += grad_rest
        grads = [torch.from_numpy(sum(values)).to(x.dtype) for values in zip(*sums, strict=True)]
        grad_bias = None if bias is None else grads[1]
        return grad_x, grads[0].view_as(weight), grad_bias, None if gain is None else grads[2], None, None, None


def _add_at(inside: Array, rows: NDArray[np.int64], places: Tensor, gradients: Tensor) -> None:
    """Add the gradients of maxima to that of the samples that they are."""
    indices = rows[:, None] + places.numpy()
    inside[indices.ravel()] += gradients.detach().contiguous().numpy().ravel()


def _differentiable(ctx: Any, gradients: tuple[Tensor | None, ...], *inputs: Tensor | None) -> tuple[Any, ...]:
    """The gradients as functions that have gradients themselves."""
    x, weight, bias, gain = inputs
    assert x is not None and weight is not None
    if ctx.wanted is None:
        outputs: tuple[Tensor | None, ...] = (textbook(x, weight, bias, ctx.settings, gain),)
    else:
        outputs = _textbook_parts(x, weight, bias, ctx.settings, gain, ctx.wanted)
    pairs = [(y, g) for y, g in zip(outputs, gradients, strict=False) if y is not None and g is not None]
    needed = [t for t, need in zip(inputs, ctx.needs_input_grad[:4], strict=True) if need and t is not None]
    of = torch.autograd.grad([y for y, _ in pairs], needed, [g for _, g in pairs], create_graph=True, allow_unused=True)
    grads = iter(of)
    return *(next(grads) if need else None for need in ctx.needs_input_grad[:4]), None, None, None


def in_rows(x: Tensor) -> Tensor:
    """x, or a copy, with samples next to each other."""
    return x if x.stride(-1) == 1 else x.contiguous()


def flat(item: Tensor) -> Array:
    """All that lies between the first and the last sample of an item (channels, time)."""
    size = (item.shape[0] - 1) * item.stride(0) + item.shape[1]
    array: NDArray[np.float32] = item.detach().as_strided((size,), (1,)).numpy()
    return array


def _packed(weight: Tensor) -> Array:
    """(rows / 4, in_channels * taps, 4), flat, in the order in which a tile reads them."""
    rows = F.pad(weight.detach().flatten(1), (0, 0, 0, -weight.shape[0] % loops.ROWS))
    array: NDArray[np.float32] = rows.view(-1, loops.ROWS, rows.shape[1]).mT.flatten().numpy()
    return array


def _filled(bias: Tensor | None, weight: Tensor) -> Array:
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
