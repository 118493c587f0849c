"""Multi-layer perceptrons."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn


def dense_layers(
    num_inputs: int,
    num_outputs: int,
    *,
    num_layers: int = 3,
    hidden_size: int = 32,
    activation: nn.Module | None = None,
) -> nn.Sequential:
    """Linear, activation, Linear, activation, ...; the activation follows the last layer too.

    One activation module serves all layers, so that only the Linear layers, at the even indices, have weights.

    Args:
        num_inputs: size of the last axis that goes in.
        num_outputs: size of the last axis that comes out.
        num_layers: how many Linear layers.
        hidden_size: size between them.
        activation: ReLU unless given.
    """
    activation = nn.ReLU() if activation is None else activation
    sizes = [num_inputs, *[hidden_size] * (num_layers - 1), num_outputs]
    layers: list[nn.Module] = []
    for size_in, size_out in pairwise(sizes):
        layers += [nn.Linear(size_in, size_out), activation]
    return nn.Sequential(*layers)


class MLP(nn.Module):
    """`dense_layers` as a module; its weights are ``layers.0``, ``layers.2``, ... See there for the arguments."""

    def __init__(
        self,
        num_inputs: int,
        num_outputs: int,
        *,
        num_layers: int = 3,
        hidden_size: int = 32,
        activation: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.layers = dense_layers(
            num_inputs, num_outputs, num_layers=num_layers, hidden_size=hidden_size, activation=activation
        )

    def forward(self, values: Tensor) -> Tensor:
        """(..., num_inputs) to (..., num_outputs)."""
        out: Tensor = self.layers(values)
        return out
