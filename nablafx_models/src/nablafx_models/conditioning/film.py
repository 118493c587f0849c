"""Feature-wise linear modulation."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from nablafx_core.errors import ModelError
from nablafx_core.nn.mlp import dense_layers
from nablafx_core.state import State
from nablafx_core.steps import BlockStep, Steps
from nablafx_models.conditioning.interface import AffineModulation, Condition, Conditioner


class ControlMLP(Conditioner):
    """condition = MLP(controls): three layers of 32 with ReLU, at each sample for itself.

    Args:
        num_controls: of the model.
    """

    condition_size = 32
    samples_per_step = math.inf  # computed when a knob is turned

    def __init__(self, num_controls: int) -> None:
        super().__init__()
        self.layers = dense_layers(num_controls, self.condition_size)

    def forward(
        self, audio: Tensor, controls: Tensor | None, state: State, final: bool = False
    ) -> tuple[Tensor, Condition, State]:
        """(batch, 32) for controls (batch, num_controls), (batch, 32, time) for automation; no state."""
        if controls is None:
            raise ModelError("film needs the controls.")
        return audio, _per_sample(self.layers, controls), {}


class FiLM(AffineModulation):
    """y = g x + b per channel, [g, b] = Linear(condition) (Perez et al., 2018, arXiv:1709.07871).

    It begins near the identity, g about 1 and b about 0: with both about 0 the network would begin almost mute.

    Args:
        channels: of the features.
        condition_size: channels of the condition.
        norm: ``"batch"`` normalises x before, without learned scale; ``"none"`` does not.
    """

    samples_per_step = math.inf  # its matrix is used when a knob is turned

    def __init__(self, channels: int, condition_size: int, norm: str = "none") -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(channels, affine=False) if norm == "batch" else None
        self.adaptor = nn.Linear(condition_size, 2 * channels)
        begin_at_identity(self.adaptor)

    def affine(
        self,
        features: Tensor,
        condition: Condition,
        state: State,
        final: bool = False,
        *,
        whole: bool = False,
        maxima: Tensor | None = None,
    ) -> BlockStep:
        """One step for a condition (batch, size), one per sample for (batch, size, time); no state."""
        if not isinstance(condition, Tensor):
            raise ModelError("film needs the controls.")
        values = _per_sample(self.adaptor, condition)
        steps = Steps(values, 0, 1) if values.ndim == 3 else Steps(values[..., None], 0, max(features.shape[-1], 1))
        normed = self.bn is not None and features.shape[-1] > 0
        return BlockStep(self.bn(features) if normed and self.bn is not None else features, steps, {})


def begin_at_identity(adaptor: nn.Linear | nn.Conv1d) -> None:
    """Make a fresh adaptor give scales about 1 and shifts about 0."""
    assert adaptor.bias is not None
    with torch.no_grad():
        scale, shift = adaptor.bias.chunk(2)
        scale.fill_(1.0)
        shift.fill_(0.0)


def _per_sample(layers: nn.Module, values: Tensor) -> Tensor:
    out: Tensor = layers(values) if values.ndim == 2 else layers(values.mT).mT
    return out
