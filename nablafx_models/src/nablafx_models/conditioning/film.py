"""Feature-wise linear modulation."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from nablafx_core.errors import ModelError
from nablafx_core.kernels.blocks import scaled_and_shifted
from nablafx_core.nn.blocks import Steps
from nablafx_core.nn.mlp import dense_layers
from nablafx_core.state import State
from nablafx_models.conditioning.interface import Condition, Conditioner, Modulation


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


class FiLM(Modulation):
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

    def forward(
        self, features: Tensor, condition: Condition, state: State, final: bool = False
    ) -> tuple[Tensor, State]:
        """Modulate features (batch, channels, time) by a condition (batch, size) or (batch, size, time); no state."""
        if not isinstance(condition, Tensor):
            raise ModelError("film needs the controls.")
        if not features.shape[-1]:
            return features, {}
        scale_and_shift = _per_sample(self.adaptor, condition)
        if scale_and_shift.ndim == 2:
            scale_and_shift = scale_and_shift[..., None]
        if self.bn is not None:
            features = self.bn(features)
        return modulated(features, scale_and_shift), {}


def modulated(features: Tensor, scale_and_shift: Tensor) -> Tensor:
    """g x + b for [g, b] of twice the channels of x."""
    scale, shift = scale_and_shift.chunk(2, dim=1)
    return torch.addcmul(shift, features, scale)


def modulated_by_steps(features: Tensor, steps: Steps) -> Tensor:
    """g x + b for [g, b] of twice the channels of x, held over blocks."""
    time, size = features.shape[-1], steps.block_size
    if steps.skip == 0 and time % size == 0:  # whole blocks: nothing is copied over their samples
        scale, shift = steps.values[..., steps.values.shape[-1] - time // size :].chunk(2, dim=1)
        blocks = features.reshape(*features.shape[:-1], -1, size)
        return scaled_and_shifted(blocks, scale, shift).flatten(-2)
    return modulated(features, steps.over(time))


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
