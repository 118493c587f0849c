"""Build activation functions by their names."""

from __future__ import annotations

from typing import Literal

from torch import nn

from nablafx_core.errors import ModelError
from nablafx_core.nn.rational import FunctionName, Rational

ActivationName = Literal[
    "tanh",
    "prelu",
    "rational",
    "relu",
    "leaky_relu",
    "elu",
    "gelu",
    "silu",
    "mish",
    "softplus",
    "sigmoid",
    "hardtanh",
    "identity",
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


def activation(
    name: ActivationName, channels: int, degrees: tuple[int, int] = (6, 5), function: FunctionName = "tanh"
) -> nn.Module:
    """Return the activation function with a name, for features (batch, channels, time).

    Args:
        name: torch's name in lower case; ``"prelu"`` learns one slope per channel, ``"rational"`` the coefficients of a
            `Rational` that all channels share.
        channels: number of channels of the features.
        degrees: degrees of the numerator and the denominator, for ``"rational"``.
        function: function that a ``"rational"`` is initialised with.

    Raises:
        ModelError: if the name is unknown.
    """
    if name == "prelu":
        return nn.PReLU(channels)
    if name == "rational":
        return Rational(degrees, function)
    if name not in _ACTIVATIONS:
        raise ModelError(f"unknown activation '{name}'. Activations: prelu, rational, {', '.join(_ACTIVATIONS)}.")
    return _ACTIVATIONS[name]()
