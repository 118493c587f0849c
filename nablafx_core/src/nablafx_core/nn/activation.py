"""Activation functions by name."""

from __future__ import annotations

from typing import Literal

from torch import nn

from nablafx_core.errors import ModelError

ActivationName = Literal[
    "tanh", "prelu", "relu", "leaky_relu", "elu", "gelu", "silu", "mish", "softplus", "sigmoid", "hardtanh", "identity"
]

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "softplus": nn.Softplus,
    "sigmoid": nn.Sigmoid,
    "hardtanh": nn.Hardtanh,
    "identity": nn.Identity,
}


def activation(name: ActivationName, channels: int) -> nn.Module:
    """The activation function of that name, for features (batch, channels, time).

    Args:
        name: torch's, in lower case; ``"prelu"`` learns one slope per channel.
        channels: of the features.

    Raises:
        ModelError: if there is none of that name.
    """
    if name == "prelu":
        return nn.PReLU(channels)
    if name not in _ACTIVATIONS:
        raise ModelError(f"there is no activation '{name}'. Activations: prelu, {', '.join(_ACTIVATIONS)}.")
    return _ACTIVATIONS[name]()
