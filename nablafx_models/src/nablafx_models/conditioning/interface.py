"""Parts of a conditioning: one per model, which computes the condition, and one per layer, which applies it.

Both pass their state in and out of each call, as models do. Both may hold samples back until they can process them.
Then a call may return fewer samples than it receives, or more, and a call with ``final=True`` returns the rest.
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

#: Condition of a layer: (batch, size) for the whole call, (batch, size, time) for each sample, one step per block, or
#: None for no condition.
Condition = Tensor | Steps | None


class Conditioner(nn.Module):
    """Compute one condition for all layers of a model, from the controls and perhaps the audio.

    Attributes:
        condition_size: channels of the condition.
        steady: True if constant controls give a constant condition, whatever the audio.
        grid: number of samples in a block of audio that is held back until it is complete; blocks are counted from the
            first sample of the audio; 1 if no audio is held back.
    """

    condition_size: int
    steady: bool = True

    @property
    def grid(self) -> int:
        """Number of samples in a block of audio that is held back until it is complete; 1 if none is held back."""
        return 1

    def initial_state(self, batch_size: int) -> State:
        """Return the state before the first sample of the audio; empty for a condition without memory."""
        return {}

    def held(self, state: State) -> int:
        """Return the number of samples of audio that are held back in a state."""
        return 0

    def forward(
        self, audio: Tensor, controls: Tensor | None, state: State, final: bool = False
    ) -> tuple[Tensor, Condition, State]:
        """Return the audio that can be processed now, the condition for this audio, and the state for the next call.

        Args:
            audio: (batch, 1, time), the new input of the model, without the samples that are held back.
            controls: (batch, num_controls) or (batch, num_controls, time); None for a model without controls.
            state: from `initial_state` or the call before.
            final: True if no audio follows.
        """
        raise NotImplementedError


class Modulation(nn.Module):
    """Apply the condition to the features of one layer.

    Attributes:
        steady: True if constant features give a constant output whenever the condition is constant; False if there is
            memory or the condition follows the audio. If all parts of a `DilatedNetwork` are steady, the state at the
            start of a file costs one sample per layer; otherwise each layer processes the whole pre-roll.
        grid: number of samples in a block of features that is held back until it is complete; blocks are counted from
            the first feature of the layer; 1 if no features are held back.
    """

    steady: bool = True

    @property
    def grid(self) -> int:
        """Number of samples in a block of features that is held back until it is complete; 1 if none is held back."""
        return 1

    def initial_state(self, batch_size: int) -> State:
        """Return the state before the first feature of the layer; empty for a modulation without memory."""
        return {}

    def held(self, state: State) -> int:
        """Return the number of features that are held back in a state."""
        return 0

    def forward(
        self, features: Tensor, condition: Condition, state: State, final: bool = False
    ) -> tuple[Tensor, State]:
        """Return the modulated features that can be used now, and the state for the next call.

        Args:
            features: new features of one layer, (batch, channels, time), without those that are held back.
            condition: condition for these features: the output of the Conditioner, or the controls if the conditioning
                has no Conditioner; None if there are no controls either.
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
        whole: True if `features` begin with those that were held back, and the new ones follow; False if they are only
            the new ones.
        maxima: maxima of the features over blocks, (batch, channels, blocks), if they are already known; None if not.
            The first block begins `AffineModulation.lead` samples before the features; the last one may be unfinished.
            If they are given, `AffineModulation.scale_and_shift` returns all features, of which the first
            `AffineModulation.ready` can be used.
    """

    features: Tensor
    condition: Condition
    state: State
    final: bool = False
    whole: bool = False
    maxima: Tensor | None = None


class AffineModulation(Modulation):
    """y = g x + b, with one g and one b per channel and step; a step lasts one or more samples.

    A subclass computes the steps in `scale_and_shift`. `forward` applies them; a layer may instead compute this
    together with its convolution.

    Attributes:
        pooled: number of samples in the blocks whose maxima `scale_and_shift` can use; 0 if it uses none.
    """

    pooled: int = 0

    def ready(self, count: int, final: bool = False) -> int:
        """Return how many of `count` features can be used: those of complete blocks, or all if `final`.

        The features that were held back are counted too; they begin at the start of a block.
        """
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
        """Modulate features (batch, channels, time) and apply an activation.

        Args:
            features, condition, state, final: as in `Modulation.forward`.
            activation: see `ConvolutionSettings`; a gate halves the number of channels.

        Returns:
            The modulated features that can be used now, and the state for the next call. If there are no new features,
            and none that were held back come out, the features and the state that were passed.
        """
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

    Raises:
        ModelError: if the block size or the number of layers is below 1.
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
        condition_size: channels of the condition; the number of controls if the condition is the controls.
        norm: batch normalisation before the modulation, ``"batch"`` or ``"none"``.
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
        conditioner: builds the Conditioner of a model from its number of controls and the settings of the blocks; None
            if the condition is the controls themselves.
        modulation: builds the Modulation of a layer; None if layers are not modulated.
        condition_size: channels of the condition; None for one per control.
        appended: True if the condition becomes input channels after the audio.
        needs_controls: True if a model without controls cannot use it.
        allows_norm: True if it can be combined with ``norm: batch``.
        allows_end_alignment: True if it can be combined with ``alignment: end``.
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
    """Set the bias of a new adaptor to 1 for the scales and 0 for the shifts; its weights stay as they are.

    The first half of its outputs are the scales. With scales about 0, the network would be almost silent at first.
    """
    assert adaptor.bias is not None
    with torch.no_grad():
        scale, shift = adaptor.bias.chunk(2)
        scale.fill_(1.0)
        shift.fill_(0.0)


def over_time(condition: Tensor, time: int) -> Tensor:
    """Repeat a condition (batch, size) over `time` samples; return a condition (batch, size, time) unchanged."""
    return condition if condition.ndim == 3 else condition[..., None].expand(-1, -1, time)
