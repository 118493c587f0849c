"""Temporal convolutional network."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import gcd
from typing import Any

import torch
from torch import Tensor, nn

from nablafx_core.nn.activation import ActivationName
from nablafx_core.nn.activation import activation as activation_named
from nablafx_core.nn.rational import Degrees, FunctionName
from nablafx_core.state import State
from nablafx_models.dilated_block import BlockLayout, DilatedBlock, Fused
from nablafx_models.dilated_network import DilatedNetwork
from nablafx_models.streamed import Flow


class TCNBlock(DilatedBlock):
    """x' = act(modulation(conv(x))) [+ res(x)].

    ``res`` is a convolution with one tap, without bias, in as many groups as the greatest common divisor of the numbers
    of input and output channels: a gain per output channel if their number is a multiple of the input's.

    Args:
        layout: size and settings.
        make_activation: builds the activation from the number of channels.
    """

    def __init__(self, layout: BlockLayout, make_activation: Callable[[int], nn.Module]) -> None:
        super().__init__(layout, layout.out_channels)
        self.act = make_activation(layout.out_channels)
        self.res = None
        if layout.residual_lag is not None:
            groups = gcd(layout.in_channels, layout.out_channels)
            self.res = nn.Conv1d(layout.in_channels, layout.out_channels, 1, groups=groups, bias=False)

    def outputs(self, features: Tensor, residual: Tensor | None) -> tuple[Tensor, None]:
        """Return the input of the next block, (batch, out_channels, time), and None: a TCN does not sum over blocks."""
        y: Tensor = self.act(features)
        if self.res is None or residual is None:
            return y, None
        if self.res.weight.shape[1] == 1 and residual.shape[1] in (1, y.shape[1]):
            return y + self.res.weight[:, 0] * residual, None  # equals the grouped convolution, and is faster
        return y + self.res(residual), None

    def fused(self) -> Fused | None:
        """Return tanh, and the gain of the residual if there is one.

        None if the block has a batch norm of its own, another activation, or a residual that mixes channels.
        """
        mixes = self.res is not None and self.res.weight.shape[1] > 1
        if self.bn is not None or type(self.act) is not nn.Tanh or mixes:
            return None
        return Fused("tanh", None if self.res is None else self.res.weight.flatten())


class TCN(DilatedNetwork):
    """Dilated convolutions in blocks (Bai et al., 2018, arXiv:1803.01271; Steinmetz & Reiss, 2022, arXiv:2102.06200).

    x_{n+1} = act(modulation(conv_n(x_n))) [+ res_n(x_n)],  y = tanh(output(x_N) [+ direct_gain(audio)])

    where res_n is a gain per channel of the block. Only if the number of these is not a multiple of the input's, res_n
    also sums groups of channels. Before a file the network sees zeros, as many as its receptive field reaches back.

    Args:
        activation: activation of every block.
        rational_degrees: degrees of the numerator and the denominator, for ``activation: rational``.
        rational_function: initial function of a rational activation.
    """

    def __init__(
        self,
        *,
        activation: ActivationName = "tanh",
        rational_degrees: Degrees = (6, 5),
        rational_function: FunctionName = "tanh",
        **network: Any,
    ) -> None:
        super().__init__(**network)
        make_activation = partial(activation_named, activation, degrees=rational_degrees, function=rational_function)
        self.blocks = nn.ModuleList(TCNBlock(layout, make_activation) for layout in self._layouts)
        self.output = nn.Conv1d(self._layouts[-1].out_channels, self.out_channels, 1)
        self._connect()

    def _output(self, x: Flow, contributions: list[Flow | None], audio: Flow, state: State) -> tuple[Tensor, State]:
        y = self.output(x.values) if x.values.shape[-1] else x.values[:, :1]
        y, after = self._add_direct_path(y, x, audio, state)
        return torch.tanh(y), after
