"""Networks with sine activations."""

from __future__ import annotations

import torch
from torch import Tensor, nn


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
        """y of each number, of the shape of `values`."""
        hidden = values[..., None]
        for layer, factor in zip(self.layers, (self.w0, *[1.0] * (len(self.layers) - 1)), strict=True):
            hidden = torch.sin(layer(hidden) if factor == 1 else factor * layer(hidden))
        out: Tensor = self.last_layer(hidden)
        return out[..., 0]
