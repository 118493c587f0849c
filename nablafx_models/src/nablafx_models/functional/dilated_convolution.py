"""Dilated convolution with activation and residual as one differentiable function."""

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
from nablafx_models.kernels import dilated_convolution as loops

#: The activations that compiled loops apply. A gate makes one channel of two, so no layer has it as its `activation`.
FusedActivation = Literal["identity", "tanh", "gate"]
Array = NDArray[np.float32]

#: The number by which compiled loops know each activation.
ACTIVATION_NUMBERS = {"identity": loops.IDENTITY, "tanh": loops.TANH, "gate": loops.GATE}


class ConvolutionSettings(NamedTuple):
    """Settings of a dilated convolution.

    Args:
        dilation: samples between taps.
        activation: ``"tanh"``; ``"gate"``, which is the tanh of the first half of the channels times the sigmoid of
            the second half; or ``"identity"``.
        residual_start: index of the sample of x that, times the gain, is added to the first sample of y.
    """

    dilation: int
    activation: FusedActivation = "identity"
    residual_start: int = 0


class ConvolutionParts(NamedTuple):
    """Output of a convolution whose modulation and residual are still to be applied.

    Args:
        features: conv(x) + bias, (batch, out_channels, length - (taps - 1) dilation).
        residual: samples of x to multiply by the gain and add, (batch, in_channels, channels // in_channels,
            request.residual_samples); None if there is no gain.
        rest: copy of the samples of x from index request.residual_samples on, (batch, in_channels, time).
        maxima: maxima of the features over blocks, (batch, out_channels, blocks); None if not requested.
    """

    features: Tensor
    residual: Tensor | None
    rest: Tensor
    maxima: Tensor | None


class PartsRequest(NamedTuple):
    """Sizes of the parts that a convolution returns for its modulation.

    Args:
        residual_samples: number of samples of the residual, and index in x at which `ConvolutionParts.rest` begins.
        block_size: samples of a block, for the maxima; 0 for no maxima.
        lead: number of samples of the first block that come before the features.
    """

    residual_samples: int
    block_size: int = 0
    lead: int = 0


def dilated_convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, settings: ConvolutionSettings, gain: Tensor | None = None
) -> Tensor:
    """Convolve, apply the activation and add the residual.

    y[o, t] = act(bias[o] + sum over c, k of weight[o, c, k] x[c, t + k dilation]) + gain[o] x[r(o), t + start]

    with r(o) = o in_channels // channels. There is no padding, so y is (taps - 1) dilation samples shorter than x.

    float32 on the CPU runs compiled, forward and backward, with one thread per item of the batch. Everything else, and
    second derivatives, use torch's operations.

    Args:
        x: (batch, in_channels, length), longer than (taps - 1) dilation.
        weight: (out_channels, in_channels, taps).
        bias: (out_channels,) or None.
        settings: dilation, activation and start of the residual.
        gain: gain of the residual, (channels,); None for no residual. The number of channels after the activation must
            be a multiple of in_channels.

    Returns:
        (batch, channels, length - (taps - 1) dilation).
    """
    if not _runs_compiled(x, weight, bias, gain):
        return dilated_convolution_torch(x, weight, bias, settings, gain)
    keep = _needs_gradients(x, weight, bias, gain)
    arguments = contiguous_in_time(x), weight, bias, gain, settings, keep, None
    out: Tensor = _DilatedConvolution.apply(*arguments)[0]  # type: ignore[no-untyped-call]
    return out


def _convolution_parts(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    settings: ConvolutionSettings,
    gain: Tensor | None,
    request: PartsRequest,
) -> ConvolutionParts:
    """Convolve for `nablafx_models.functional.modulation.modulated_convolution`, which applies the rest.

    The gradient of `residual` is correct only inside that function: it multiplies the residual by the gain and returns
    the gradient of the product. The gradients of x and of the gain are computed from it here, where x is read and its
    gradient is written anyway.

    Args:
        x, weight, bias, settings, gain: as in `dilated_convolution`; the activation must be ``"identity"``. `gain` has
            one value per channel after the activation of `modulated_convolution`.
        request: sizes of the parts.
    """
    if not _runs_compiled(x, weight, bias, gain):
        return _parts_torch(x, weight, bias, settings, gain, request)
    keep = _needs_gradients(x, weight, bias, gain)
    arguments = contiguous_in_time(x), weight, bias, gain, settings, keep, request
    return ConvolutionParts(*_DilatedConvolution.apply(*arguments))  # type: ignore[no-untyped-call]


def _runs_compiled(*tensors: Tensor | None) -> bool:
    return compiled_for(*(t for t in tensors if t is not None))


def _needs_gradients(*tensors: Tensor | None) -> bool:
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


def apply_activation(y: Tensor, activation: FusedActivation) -> Tensor:
    """Apply an activation to y (batch, channels, time) with torch's operations; see `ConvolutionSettings`."""
    if activation == "tanh":
        return torch.tanh(y)
    if activation == "gate":
        a, b = y.chunk(2, dim=1)
        return torch.tanh(a) * torch.sigmoid(b)
    return y


def dilated_convolution_torch(
    x: Tensor, weight: Tensor, bias: Tensor | None, settings: ConvolutionSettings, gain: Tensor | None = None
) -> Tensor:
    """Compute `dilated_convolution` with torch's operations."""
    y = apply_activation(F.conv1d(x, weight, bias, dilation=settings.dilation), settings.activation)
    if gain is None:
        return y
    residual = _residual_view(x, settings.residual_start, y.shape[1], y.shape[-1]).flatten(1, 2)
    return torch.addcmul(y, gain[:, None], residual)


def _parts_torch(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    settings: ConvolutionSettings,
    gain: Tensor | None,
    request: PartsRequest,
) -> ConvolutionParts:
    """Compute `_convolution_parts` with torch's operations.

    The residual has the value of x and the gradient of x times the gain.
    """
    y = F.conv1d(x, weight, bias, dilation=settings.dilation)
    residual = maxima = None
    if gain is not None:
        passed = _residual_view(x, settings.residual_start, len(gain), request.residual_samples)
        product = gain.view(passed.shape[1:3])[..., None] * passed
        residual = product + (passed - product).detach()
    if request.block_size:
        size, lead = request.block_size, request.lead
        padded = F.pad(y, (lead, -(lead + y.shape[-1]) % size), value=-torch.inf)
        maxima = padded.reshape(*padded.shape[:-1], -1, size).max(dim=-1).values
    return ConvolutionParts(y, residual, x[..., request.residual_samples :].clone(), maxima)


def _residual_view(x: Tensor, start: int, channels: int, samples: int) -> Tensor:
    """Return x from index `start` on as a view, each channel repeated, (batch, in_channels, repetitions, samples)."""
    part = x[..., start : start + samples].unsqueeze(2)
    return part.expand(-1, -1, channels // x.shape[1], -1)


class _DilatedConvolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        gain: Tensor | None,
        settings: ConvolutionSettings,
        keep: bool,
        request: PartsRequest | None,
    ) -> tuple[Tensor | None, ...]:
        time = x.shape[-1] - (weight.shape[2] - 1) * settings.dilation
        gated = settings.activation == "gate"
        y = x.new_empty(x.shape[0], weight.shape[0] // (2 if gated else 1), time)
        needed = keep and settings.activation != "identity"
        # Without a residual, the output of a tanh is what its gradient needs.
        features = x.new_empty(x.shape[0], weight.shape[0], time) if needed and (gated or gain is not None) else None
        packed, biases = _packed_weights(weight), _padded_bias(bias, weight)
        offsets = _term_offsets(weight, x.stride(1), settings.dilation)
        gains, starts = _residual_rows(gain if request is None else None, x, settings)
        nothing = np.empty(0, np.float32)
        maxima = places = residual = None
        if request is not None and request.block_size:
            blocks = -(-(request.lead + time) // request.block_size)
            maxima, places = y.new_empty(*y.shape[:2], blocks), torch.empty(*y.shape[:2], blocks, dtype=torch.int64)

        def item(n: int) -> None:
            kept = nothing if features is None else flat_array(features[n])
            number, out = ACTIVATION_NUMBERS[settings.activation], flat_array(y[n])
            loops.forward(flat_array(x[n]), offsets, packed, biases, number, gains, starts, time, kept, out)
            if maxima is not None and places is not None and request is not None:
                rows = np.arange(y.shape[1]) * time
                of_blocks = flat_array(maxima[n]), places[n].view(-1).numpy()
                largest(out, rows, time, request.block_size, request.lead, *of_blocks)

        for_each(x.shape[0], item)
        if keep:
            ctx.save_for_backward(x, weight, bias, gain, y if needed and features is None else features, places)
            ctx.settings, ctx.request = settings, request
            ctx.set_materialize_grads(False)
        if request is not None and gain is not None:
            residual = _residual_view(x, settings.residual_start, len(gain), request.residual_samples)
        return y, residual, None if request is None else x[..., request.residual_samples :].clone(), maxima

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        x, weight, bias, gain, features, places = ctx.saved_tensors
        settings, request = ctx.settings, ctx.request
        if torch.is_grad_enabled():
            return _differentiable_gradients(ctx, gradients, x, weight, bias, gain)
        span = (weight.shape[2] - 1) * settings.dilation
        time = x.shape[-1] - span
        grad_y, grad_residual, grad_rest, grad_maxima = (
            gradients if request is not None else (gradients[0],) * 2 + (None,) * 2
        )
        grad_y = x.new_zeros(len(x), weight.shape[0], time) if grad_y is None else contiguous_in_time(grad_y)
        gain = None if grad_residual is None else gain
        if grad_residual is not None:
            grad_residual = None if gain is None else contiguous_in_time(grad_residual.flatten(1, -2))
        residual_time = 0 if grad_residual is None else grad_residual.shape[-1]
        lead = -(-span // REGISTER_LANES) * REGISTER_LANES
        stride = lead + x.shape[-1] + (-x.shape[-1]) % loops.TILE
        grad_x = x.new_empty(x.shape) if ctx.needs_input_grad[0] else None
        mirrored = _packed_weights(weight.transpose(0, 1).flip(2))
        zeros = _padded_bias(None, weight.transpose(0, 1))
        into_grad = lead - span + _term_offsets(weight.transpose(0, 1), stride, settings.dilation)
        rows = lead + stride * np.arange(weight.shape[0])
        offsets = _term_offsets(weight, x.stride(1), settings.dilation)
        gains, starts = _residual_rows(gain, x, settings)
        targets = _residual_rows(gain, x, settings, x.shape[-1])[1]
        sources = np.arange(len(gains)) * (0 if grad_residual is None else grad_residual.stride(1))
        # One set of sums for the gradients of the weights per item, so that threads never write to the same memory.
        sums = [
            (np.zeros((len(weight), weight[0].numel())), np.zeros(len(weight)), np.zeros(len(gains)))
            for _ in range(len(x))
        ]
        nothing = np.empty(0, np.float32)

        def item(n: int) -> None:
            inside = np.empty(stride * weight.shape[0], np.float32)
            _clear_margins(inside.reshape(-1, stride), lead, time)
            grad, signal = flat_array(grad_y[n]), flat_array(x[n])
            kept = nothing if features is None else flat_array(features[n])
            source = grad_y.stride(1), grad_y.shape[1]
            number = ACTIVATION_NUMBERS[settings.activation]
            loops.before_activation(grad, source, number, kept, time, inside, lead, stride)
            if grad_maxima is not None:
                _add_maxima_gradients(inside, rows, places[n], grad_maxima[n])
            beside = nothing if grad_residual is None else flat_array(grad_residual[n])
            loops.correlations(inside, rows, signal, offsets, time, sums[n][0])
            loops.totals(inside, rows, time, sums[n][1])
            loops.products(beside, sources, signal, starts, residual_time, sums[n][2])
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
                    residual_time,
                    x.shape[-1],
                    flat_array(grad_x[n]),
                )

        for_each(x.shape[0], item)
        if grad_rest is not None and grad_x is not None:
            grad_x[..., grad_x.shape[-1] - grad_rest.shape[-1] :] += grad_rest
        grads = [torch.from_numpy(sum(values)).to(x.dtype) for values in zip(*sums, strict=True)]
        grad_bias = None if bias is None else grads[1]
        return grad_x, grads[0].view_as(weight), grad_bias, None if gain is None else grads[2], None, None, None


def _add_maxima_gradients(inside: Array, rows: NDArray[np.int64], places: Tensor, gradients: Tensor) -> None:
    """Add the gradient of each maximum to the gradient of the (first) sample that was the maximum."""
    indices = rows[:, None] + places.numpy()
    inside[indices.ravel()] += gradients.detach().contiguous().numpy().ravel()


def _differentiable_gradients(
    ctx: Any, gradients: tuple[Tensor | None, ...], *inputs: Tensor | None
) -> tuple[Any, ...]:
    """Compute the gradients of the arguments of `_DilatedConvolution` as torch's operations, differentiable again."""
    x, weight, bias, gain = inputs
    assert x is not None and weight is not None
    if ctx.request is None:
        outputs: tuple[Tensor | None, ...] = (dilated_convolution_torch(x, weight, bias, ctx.settings, gain),)
    else:
        outputs = _parts_torch(x, weight, bias, ctx.settings, gain, ctx.request)
    pairs = [(y, g) for y, g in zip(outputs, gradients, strict=False) if y is not None and g is not None]
    needed = [t for t, need in zip(inputs, ctx.needs_input_grad[:4], strict=True) if need and t is not None]
    of = torch.autograd.grad([y for y, _ in pairs], needed, [g for _, g in pairs], create_graph=True, allow_unused=True)
    grads = iter(of)
    return *(next(grads) if need else None for need in ctx.needs_input_grad[:4]), None, None, None


def contiguous_in_time(x: Tensor) -> Tensor:
    """Return x if its samples are adjacent in memory, otherwise a contiguous copy of it."""
    return x if x.stride(-1) == 1 else x.contiguous()


def flat_array(item: Tensor) -> Array:
    """Return the memory from the first to the last sample of an item (channels, time) as a flat array, without a copy.

    The samples of a channel must be adjacent in memory; the channels may be apart.
    """
    size = (item.shape[0] - 1) * item.stride(0) + item.shape[1]
    array: NDArray[np.float32] = item.detach().as_strided((size,), (1,)).numpy()
    return array


def _packed_weights(weight: Tensor) -> Array:
    """Return the weights in the order in which a tile reads them: (rows / 4, in_channels * taps, 4), flat."""
    rows = F.pad(weight.detach().flatten(1), (0, 0, 0, -weight.shape[0] % loops.ROWS))
    array: NDArray[np.float32] = rows.view(-1, loops.ROWS, rows.shape[1]).mT.flatten().numpy()
    return array


def _padded_bias(bias: Tensor | None, weight: Tensor) -> Array:
    """Return the bias (or zeros), padded to the rows of `_packed_weights`."""
    padded = np.zeros(weight.shape[0] + -weight.shape[0] % loops.ROWS, np.float32)
    if bias is not None:
        padded[: len(bias)] = bias.detach().numpy()
    return padded


def _term_offsets(weight: Tensor, stride: int, dilation: int) -> NDArray[np.int64]:
    """Return the offset of each term in the flat input, ordered by input channel and then by tap.

    Args:
        weight: (out_channels, in_channels, taps).
        stride: distance between input channels in memory.
        dilation: samples between taps.
    """
    offsets = np.arange(weight.shape[1])[:, None] * stride + np.arange(weight.shape[2]) * dilation
    return offsets.ravel()


def _residual_rows(
    gain: Tensor | None, x: Tensor, settings: ConvolutionSettings, stride: int | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the gains, and the index at which each channel's residual begins; two empty arrays without a residual.

    Args:
        gain: (channels,); None for no residual.
        x: (batch, in_channels, length).
        settings: start of the residual.
        stride: distance between the channels of x in memory; x.stride(1) if None.
    """
    if gain is None:
        return np.empty(0, np.float32), np.empty(0, np.int64)
    channels = np.arange(len(gain)) // (len(gain) // x.shape[1])
    starts = channels * (x.stride(1) if stride is None else stride) + settings.residual_start
    return gain.detach().contiguous().numpy(), starts


def _clear_margins(rows: NDArray[np.float32], lead: int, time: int) -> None:
    """Set the samples before and after the signal in each row to zero; it begins at `lead` and has `time` samples."""
    rows[:, :lead] = 0
    rows[:, lead + time :] = 0
