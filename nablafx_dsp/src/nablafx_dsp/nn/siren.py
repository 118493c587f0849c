"""Networks with sine activations."""

from __future__ import annotations

from torch import Tensor, nn

from nablafx_dsp.functional.siren import siren


class Siren(nn.Module):
    """Sinusoidal representation network from one number to one number.

    For the equation see `nablafx_dsp.functional.siren.siren`.

    The weights and biases of the first layer are initialised uniformly in +-1 (it has one input), those of the others
    in +-sqrt(6 / inputs).

    Args:
        hidden_size: number of units of each sine layer.
        num_layers: number of sine layers; a linear layer follows.
        w0: frequency factor of the first layer: how fast the network's output can change with its input.
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
        """Evaluate the network at each element of `values`, a tensor of any shape; the result has the same shape."""
        layers = (*self.layers, self.last_layer)
        return siren(values, self.w0, *(p for layer in layers for p in (layer.weight, layer.bias)))
