"""Parts of a conditioning: one per model, which computes the condition, and one per layer, which applies it.

Both pass their state in and out of each call, as models do. Both may hold samples back until they can process them.
Then they return fewer samples than they received, and a call with ``final=True`` returns the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nablafx_core.errors import ModelError
from nablafx_core.state import State
from nablafx_core.steps import BlockStep, Steps
from nablafx_models.functional.dilated_convolution import FusedActivation
from nablafx_models.functional.modulation import modulated

#: Condition of a layer: (batch, size) for the whole call, (batch, size, time) for each sample, or one step per block.
Condition = Tensor | Steps | None


class Conditioner(nn.Module):
    """Compute one condition for all layers of a model, from the controls and perhaps the audio.

    Attributes:
        condition_size: channels of the condition.
        steady: True if constant controls give a constant condition, whatever the audio.
        grid: samples of the blocks for which audio is held back, counted from the first sample of the audio; 1 if
            none is held back.
    """

    condition_size: int
    steady: bool = True

    @property
    def grid(self) -> int:
        """Samples of the blocks for which audio is held back."""
        return 1

    def initial_state(self, batch_size: int) -> State:
        """Return the state before the first sample; empty for a condition without memory."""
        return {}

    def held(self, state: State) -> int:
        """Return the number of samples of audio that are held back in a state."""
        return 0

    def forward(
        self, audio: Tensor, controls: Tensor | None, state: State, final: bool = False
    ) -> tuple[Tensor, Condition, State]:
        """Return the audio that can be processed now, its condition, and the state after it.

        Args:
            audio: (batch, 1, time), the input of the model.
            controls: (batch, num_controls) or (batch, num_controls, time); None for a model without controls.
            state: from `initial_state` or the call before.
            final: True if no audio follows.
        """
        raise NotImplementedError


class Modulation(nn.Module):
    """Apply the condition to the features of one layer.

    Attributes:
        steady: True if there is no memory: constant features and a constant condition give a constant output. Then the
            state at the start of a file costs one sample per layer; otherwise the layer processes its whole pre-roll.
        grid: samples of the blocks for which features are held back, counted from the first feature of the layer; 1
            if none are held back.
    """

    steady: bool = True

    @property
    def grid(self) -> int:
        """Samples of the blocks for which features are held back."""
        return 1

    def initial_state(self, batch_size: int) -> State:
        """Return the state before the first feature of the layer; empty without memory."""
        return {}

    def held(self, state: State) -> int:
        """Return the number of features that are held back in a state."""
        return 0

    def forward(
        self, features: Tensor, condition: Condition, state: State, final: bool = False
    ) -> tuple[Tensor, State]:
        """Modulate features (batch, channels, time).

        Args:
            features: features of one layer.
            condition: condition for these features: the output of the Conditioner, or the controls if the conditioning
                has no Conditioner.
            state: from `initial_state` or the call before.
            final: True if no features follow.
        """
        raise NotImplementedError


class LayerInput(NamedTuple):
    """Input of an `AffineModulation`.

    Args:
        features: (batch, channels, time).
        condition: condition for the new features, as in `Modulation.forward`.
        state: from `initial_state` or the call before.
        final: True if no features follow.
        whole: True if `features` begin with those that were held back, and the new ones follow.
        maxima: maxima of the features over blocks, (batch, channels, blocks), if they are already known. The first
            block begins `lead` samples before the features; the last one may be unfinished. The modulation then returns
            all features, of which the first `ready` can be used.
    """

    features: Tensor
    condition: Condition
    state: State
    final: bool = False
    whole: bool = False
    maxima: Tensor | None = None


class AffineModulation(Modulation):
    """y = g x + b, with g and b of each channel held over steps.

    A subclass computes the steps; this class applies them, and a layer may fuse them with its convolution instead.

    Attributes:
        pooled: samples of the blocks whose maxima `scale_and_shift` can use; 0 if it needs none.
    """

    pooled: int = 0

    def ready(self, count: int, final: bool = False) -> int:
        """Return how many of `count` features can be used, counted from the first one that was held back."""
        return count if final else count - count % self.grid

    def lead(self, state: State) -> int:
        """Return how many samples of the current block were already processed before the new features."""
        return 0

    def scale_and_shift(self, given: LayerInput) -> BlockStep:
        """Return the features that can be used, their steps [g, b] (batch, 2 channels, blocks), and the next state."""
        raise NotImplementedError

    def forward(
        self,
        features: Tensor,
        condition: Condition,
        state: State,
        final: bool = False,
        activation: FusedActivation = "identity",
    ) -> tuple[Tensor, State]:
        """Modulate features (batch, channels, time) and apply an activation of `ConvolutionSettings`."""
        if not features.shape[-1] and not (final and self.held(state)):
            return features, state
        step = self.scale_and_shift(LayerInput(features, condition, state, final))
        return modulated(step.signal, step.steps, step.signal.shape[-1], activation), step.state


@dataclass(frozen=True)
class BlockSettings:
    """Settings of the conditionings that work in blocks.

    Args:
        block_size: samples of a block.
        lookahead: compute the condition of a block from the block itself, which adds latency; otherwise from the block
            before it.
        num_layers: number of recurrent layers.
    """

    block_size: int = 128
    lookahead: bool = True
    num_layers: int = 1

    def __post_init__(self) -> None:
        if self.block_size < 1 or self.num_layers < 1:
            raise ModelError(
                f"cond_block_size {self.block_size} and cond_num_layers {self.num_layers} must be at least 1."
            )


class LayerSettings(NamedTuple):
    """Settings of the modulation of one layer.

    Args:
        channels: channels of the features.
        condition_size: channels of the condition.
        norm: ``"batch"`` or ``"none"``.
        blocks: settings for conditionings that work in blocks.
    """

    channels: int
    condition_size: int
    norm: str
    blocks: BlockSettings


@dataclass(frozen=True)
class Conditioning:
    """One way in which the controls of a model act on its layers.

    Args:
        summary: completes the sentence "With this conditioning, the model …"; shown with the setting `conditioning`.
        conditioner: builds the Conditioner of a model from its number of controls; None if the condition is the
            controls themselves.
        modulation: builds the Modulation of a layer; None if layers are not modulated.
        condition_size: channels of the condition; None for one per control.
        appended: the condition becomes input channels after the audio.
        needs_controls: a model without controls cannot use it.
        allows_norm: it can be combined with ``norm: batch``.
        allows_end_alignment: it can be combined with ``alignment: end``.
    """

    summary: str
    conditioner: Callable[[int, BlockSettings], Conditioner] | None = None
    modulation: Callable[[LayerSettings], Modulation] | None = None
    condition_size: int | None = None
    appended: bool = False
    needs_controls: bool = False
    allows_norm: bool = False
    allows_end_alignment: bool = False


def initialize_to_identity(adaptor: nn.Linear | nn.Conv1d) -> None:
    """Set the bias of a new adaptor, so that its scales are about 1 and its shifts about 0.

    With scales about 0, the network would be almost silent at first.
    """
    assert adaptor.bias is not None
    with torch.no_grad():
        scale, shift = adaptor.bias.chunk(2)
        scale.fill_(1.0)
        shift.fill_(0.0)


def over_time(condition: Tensor, time: int) -> Tensor:
    """Return a condition (batch, channels) or (batch, channels, time) as (batch, channels, time)."""
    return condition if condition.ndim == 3 else condition[..., None].expand(-1, -1, time)
