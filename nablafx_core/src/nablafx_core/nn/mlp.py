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
    """Return a sequence of Linear layers, each followed by an activation, including the last one.

    All layers share one activation module. Linear layers are at the even indices.

    Args:
        num_inputs: size of the last axis of the input.
        num_outputs: size of the last axis of the output.
        num_layers: number of Linear layers.
        hidden_size: number of features between the layers.
        activation: activation module; ReLU if None.
    """
    activation = nn.ReLU() if activation is None else activation
    sizes = [num_inputs, *[hidden_size] * (num_layers - 1), num_outputs]
    layers: list[nn.Module] = []
    for size_in, size_out in pairwise(sizes):
        layers += [nn.Linear(size_in, size_out), activation]
    return nn.Sequential(*layers)


class MLP(nn.Module):
    """Module of `dense_layers`, with the same arguments; its weights are ``layers.0``, ``layers.2``, ..."""

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
        """Map (..., num_inputs) to (..., num_outputs)."""
        out: Tensor = self.layers(values)
        return out
