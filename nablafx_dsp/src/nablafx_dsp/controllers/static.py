"""Controllers that do not depend on the audio."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor, nn

from nablafx_core.errors import ModelError
from nablafx_core.interfaces import Controller
from nablafx_core.marks import Range
from nablafx_core.nn.mlp import MLP
from nablafx_core.state import State


class Static(Controller):
    """One trained setting: sigmoid(logits), with logits that are initialised from a normal distribution.

    Args:
        num_parameters: number of the processor's parameters.
        num_controls: number of the model's controls.
        spread: standard deviation of the initial logits. A small one starts near the middle of every range, where
            gains, offsets and equalizers have no effect.
    """

    samples_per_step = math.inf  # computed once

    def __init__(self, num_parameters: int, num_controls: int = 0, spread: float = 1.0) -> None:
        super().__init__(num_parameters, num_controls)
        self.logits = nn.Parameter(spread * torch.randn(num_parameters))

    def forward(
        self, audio: Tensor, controls: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Return the same parameters for every item: (batch, num_parameters)."""
        return self.logits.sigmoid().expand(audio.shape[0], -1), {}


class StaticConditional(Controller):
    """A setting that depends on the controls: an MLP with a sigmoid after each layer, including the last one.

    Args:
        num_parameters: number of the processor's parameters.
        num_controls: number of the model's controls.
        hidden_size: number of units of each hidden layer.
        num_layers: number of layers of the MLP.

    Raises:
        ModelError: if the model has no controls.
    """

    samples_per_step = math.inf  # computed only when a control changes

    def __init__(
        self,
        num_parameters: int,
        num_controls: int,
        hidden_size: Annotated[int, Range(1, 1024)] = 16,
        num_layers: Annotated[int, Range(1, 32)] = 3,
    ) -> None:
        super().__init__(num_parameters, num_controls)
        if num_controls == 0:
            raise ModelError("controller 'static_cond' depends on the controls, and this model has none. Use 'static'.")
        self.projection = MLP(
            num_controls, num_parameters, num_layers=num_layers, hidden_size=hidden_size, activation=nn.Sigmoid()
        )

    def forward(
        self, audio: Tensor, controls: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Return parameters (batch, num_parameters), or (batch, num_parameters, time) if the controls move."""
        assert controls is not None
        if controls.ndim == 2:
            return self.projection(controls), {}
        parameters: Tensor = self.projection(controls.transpose(1, 2))
        return parameters.transpose(1, 2), {}
