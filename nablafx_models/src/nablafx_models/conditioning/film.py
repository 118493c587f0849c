"""Feature-wise linear modulation (FiLM)."""

from __future__ import annotations

import math

from torch import Tensor, nn

from nablafx_core.errors import ModelError
from nablafx_core.nn.mlp import dense_layers
from nablafx_core.state import State
from nablafx_core.steps import BlockStep, Steps
from nablafx_models.conditioning.interface import (
    AffineModulation,
    Condition,
    Conditioner,
    Conditioning,
    LayerInput,
    initialize_to_identity,
)


class ControlMLP(Conditioner):
    """condition = MLP(controls): three linear layers with 32 outputs, each followed by ReLU.

    Controls that move (automation) give a condition for each sample, computed separately.

    Args:
        num_controls: number of controls of the model, at least 1.
    """

    condition_size = 32
    samples_per_step = math.inf  # runs only when a control changes

    def __init__(self, num_controls: int) -> None:
        super().__init__()
        self.layers = dense_layers(num_controls, self.condition_size)

    def forward(
        self, audio: Tensor, controls: Tensor | None, state: State, final: bool = False
    ) -> tuple[Tensor, Condition, State]:
        """Return the audio unchanged, the condition and an empty state.

        The condition is (batch, 32) for controls (batch, num_controls), and (batch, 32, time) for controls
        (batch, num_controls, time).

        Raises:
            ModelError: if there are no controls.
        """
        if controls is None:
            raise ModelError("conditioning 'film' needs controls. Pass `controls` to the model.")
        return audio, _per_sample(self.layers, controls), {}


class FiLM(AffineModulation):
    """y = g x + b per channel, [g, b] = Linear(condition) (Perez et al., 2018, arXiv:1709.07871).

    Args:
        channels: channels of the features.
        condition_size: channels of the condition.
        norm: ``"batch"`` normalises x first, without a learned scale or shift; ``"none"`` does not.
    """

    samples_per_step = math.inf  # runs only when a control changes

    def __init__(self, channels: int, condition_size: int, norm: str = "none") -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(channels, affine=False) if norm == "batch" else None
        self.adaptor = nn.Linear(condition_size, 2 * channels)
        initialize_to_identity(self.adaptor)

    def scale_and_shift(self, given: LayerInput) -> BlockStep:
        """Return the features, normalised if there is a norm, with their steps and an empty state.

        A condition (batch, size) gives one step for all samples, and (batch, size, time) one step per sample.

        Raises:
            ModelError: if the condition is not a tensor.
        """
        features, condition = given.features, given.condition
        if not isinstance(condition, Tensor):
            raise ModelError("conditioning 'film' needs controls. Pass `controls` to the model.")
        values = _per_sample(self.adaptor, condition)
        steps = Steps(values, 0, 1) if values.ndim == 3 else Steps(values[..., None], 0, max(features.shape[-1], 1))
        if self.bn is not None and features.shape[-1]:
            features = self.bn(features)
        return BlockStep(features, steps, {})


def _per_sample(layers: nn.Module, values: Tensor) -> Tensor:
    out: Tensor = layers(values) if values.ndim == 2 else layers(values.mT).mT
    return out


FILM = Conditioning(
    "scales and shifts every layer by an MLP of the controls",
    conditioner=lambda num_controls, blocks: ControlMLP(num_controls),
    modulation=lambda layer: FiLM(layer.channels, layer.condition_size, layer.norm),
    condition_size=ControlMLP.condition_size,
    needs_controls=True,
    allows_norm=True,
)
