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
    """Constant parameters: u = sigmoid(logits), with trained logits, (num_parameters,).

    The logits are initialised from a normal distribution with mean 0. There is no state and no latency.

    Args:
        num_parameters: number of the processor's parameters.
        num_controls: number of the model's controls, which are ignored.
        spread: standard deviation of the initial logits, 0 or more. With a small one, every parameter starts near
            u = 0.5, where ``gain``, ``dc_offset`` and the gains of equalizers have no effect in their default ranges.
    """

    samples_per_step = math.inf  # computed once

    def __init__(self, num_parameters: int, num_controls: int = 0, spread: float = 1.0) -> None:
        super().__init__(num_parameters, num_controls)
        self.logits = nn.Parameter(spread * torch.randn(num_parameters))

    def forward(
        self, audio: Tensor, controls: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Return the parameters in [0, 1], (batch, num_parameters), equal for all items, and an empty state.

        Only the batch size of the audio is used.
        """
        return self.logits.sigmoid().expand(audio.shape[0], -1), {}


class StaticConditional(Controller):
    """Parameters that depend on the controls: u = MLP(controls), with a sigmoid after each layer, also the last one.

    There is no state and no latency.

    Args:
        num_parameters: number of the processor's parameters.
        num_controls: number of the model's controls, 1 or more.
        hidden_size: number of units of each hidden layer.
        num_layers: number of linear layers of the MLP, including the last one.

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
            raise ModelError(
                "controller 'static_cond' depends on the controls, and this model has none. Use 'static', or give the "
                "model controls."
            )
        self.projection = MLP(
            num_controls, num_parameters, num_layers=num_layers, hidden_size=hidden_size, activation=nn.Sigmoid()
        )

    def forward(
        self, audio: Tensor, controls: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Return the parameters in [0, 1], and an empty state.

        Args:
            audio: not used.
            controls: (batch, num_controls) or (batch, num_controls, time); they must not be None.
            state: not used.

        Returns:
            Parameters (batch, num_parameters) or, if the controls have an axis of time, (batch, num_parameters, time).
        """
        assert controls is not None
        if controls.ndim == 2:
            return self.projection(controls), {}
        parameters: Tensor = self.projection(controls.transpose(1, 2))
        return parameters.transpose(1, 2), {}
