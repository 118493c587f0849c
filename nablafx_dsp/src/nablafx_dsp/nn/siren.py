"""Networks with sine activations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nablafx_core.kernels.choice import compiled_for
from nablafx_dsp.kernels import siren as kernel


class Siren(nn.Module):
    """Sinusoidal representation network of one number (Sitzmann et al., 2020, arXiv:2006.09661).

    h_1 = sin(w0 (W_1 x + b_1)),  h_i = sin(W_i h_{i-1} + b_i),  y = W h_n + b

    Weights and biases of the first layer begin uniformly in +-1 (it has one input), the others in +-sqrt(6 / inputs).

    Args:
        hidden_size: units of each sine layer.
        num_layers: sine layers; a linear one follows.
        w0: of the first layer: how fast the network's output can change with its input.
    """

    def __init__(self, hidden_size: int = 32, num_layers: int = 3, w0: float = 30.0) -> None:
        super().__init__()
        self.w0 = w0
        sizes = [1, *[hidden_size] * (num_layers - 1)]
        self.layers = nn.ModuleList(nn.Linear(size, hidden_size) for size in sizes)
        self.last_layer = nn.Linear(hidden_size, 1)
        for layer in (*self.layers, self.last_layer):
            bound = 1.0 if layer is self.layers[0] else (6 / hidden_size) ** 0.5
            for weights in layer.parameters():
                nn.init.uniform_(weights, -bound, bound)

    def forward(self, values: Tensor) -> Tensor:
        """y of each number, of the shape of `values`.

        Layers of a multiple of four units in float32 on the CPU run compiled, forward and backward; everything else,
        and derivatives of second order, as torch's operations.
        """
        parameters = [p for layer in (*self.layers, self.last_layer) for p in (layer.weight, layer.bias)]
        if self.last_layer.in_features % 4 == 0 and compiled_for(values, *parameters):
            y: Tensor = _Siren.apply(values.contiguous(), self.w0, *parameters)  # type: ignore[no-untyped-call]
            return y
        return textbook(values, self.w0, *parameters)


def textbook(values: Tensor, w0: float, *parameters: Tensor) -> Tensor:
    """The network in torch's operations; the parameters are weight and bias of each layer."""
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
            out = textbook(values, ctx.w0, *parameters)
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
