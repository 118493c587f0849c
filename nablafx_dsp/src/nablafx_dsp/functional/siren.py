"""A network with sine activations as a differentiable function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nablafx_core.kernels.choice import compiled_for
from nablafx_dsp.kernels import siren as kernel


def siren(values: Tensor, w0: float, *parameters: Tensor) -> Tensor:
    """Evaluate a sinusoidal representation network for each number (Sitzmann et al., 2020, arXiv:2006.09661).

    h_1 = sin(w0 (W_1 x + b_1)),  h_i = sin(W_i h_{i-1} + b_i),  y = W h_n + b

    If all sine layers have the same number of units, a multiple of four, float32 on the CPU runs compiled, forward and
    backward. Everything else, and derivatives of second order, run as torch's operations.

    Args:
        values: x, of any shape; the network has one input, and is evaluated for each element.
        w0: frequency factor of the first layer.
        parameters: weight (units, inputs) and bias (units,) of each layer, in order: sine layers, and last a linear
            layer of one unit.

    Returns:
        y, of the shape of `values`.
    """
    alike = len({bias.shape[0] for bias in parameters[1:-1:2]}) == 1
    if alike and parameters[-2].shape[1] % kernel.UNITS_AT_ONCE == 0 and compiled_for(values, *parameters):
        y: Tensor = _Siren.apply(values.contiguous(), w0, *parameters)  # type: ignore[no-untyped-call]
        return y
    return _in_torch(values, w0, *parameters)


def _in_torch(values: Tensor, w0: float, *parameters: Tensor) -> Tensor:
    *layers, last = zip(parameters[::2], parameters[1::2], strict=True)
    hidden = values[..., None]
    for number, (weight, bias) in enumerate(layers):
        z = F.linear(hidden, weight, bias)
        hidden = torch.sin(z if number else w0 * z)
    return F.linear(hidden, *last)[..., 0]


class _Siren(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, w0: float, *parameters: Tensor) -> Tensor:
        ctx.save_for_backward(values, *parameters)
        ctx.w0 = w0
        return kernel.forward(values, _packed(w0, parameters))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (values, *parameters), needed = ctx.saved_tensors, (ctx.needs_input_grad[0], *ctx.needs_input_grad[2:])
        if torch.is_grad_enabled():
            wanted = [t for t, need in zip((values, *parameters), needed, strict=True) if need]
            out = _in_torch(values, ctx.w0, *parameters)
            graph = iter(torch.autograd.grad(out, wanted, gradient, create_graph=True))
            found = [next(graph) if need else None for need in needed]
            return found[0], None, *found[1:]
        of_values, sums = kernel.backward(gradient.contiguous(), values, _packed(ctx.w0, parameters))
        first, hidden, biases, last = map(torch.from_numpy, sums)
        units = len(last) - 1
        of_weights, of_biases = hidden.reshape(-1, units, units), biases.reshape(-1, units)
        between = [part for pair in zip(of_weights, of_biases, strict=True) for part in pair]
        grads = [ctx.w0 * first[:units, None], ctx.w0 * first[units:], *between, last[None, :units], last[units:]]
        return of_values, None, *(g if need else None for g, need in zip(grads, needed[1:], strict=True))


def _packed(w0: float, parameters: Sequence[Tensor]) -> kernel.Weights:
    arrays = [parameter.detach().numpy() for parameter in parameters]
    weights, biases = arrays[::2], arrays[1::2]
    none = np.empty(0, np.float32)
    return kernel.Weights(
        np.float32(w0) * np.concatenate([weights[0][:, 0], biases[0]]),
        np.concatenate([none, *(weight.ravel() for weight in weights[1:-1])]),
        np.concatenate([none, *(weight.T.ravel() for weight in weights[1:-1])]),
        np.concatenate([none, *biases[1:-1]]),
        np.concatenate([weights[-1][0], biases[-1]]),
    )
