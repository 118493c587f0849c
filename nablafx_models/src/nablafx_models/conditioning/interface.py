"""The two parts of a conditioning: one per model, that reads the controls, and one per layer, that applies them.

Both carry their state as models do, a value that goes in and comes out. Both may hold samples back until they know what
to do with them; what they return then ends earlier than what they were given, and `final` makes them return the rest.
"""

from __future__ import annotations

from torch import Tensor, nn

from nablafx_core.state import State
from nablafx_core.steps import BlockStep, Steps
from nablafx_models.kernels.dilated import ActivationName
from nablafx_models.kernels.modulated import modulated

#: What a layer is given: (batch, size) for the whole block, (batch, size, time) for its samples, or steps.
Condition = Tensor | Steps | None


class Conditioner(nn.Module):
    """What a model computes once for all of its layers: a condition, from the controls and perhaps the audio.

    Attributes:
        condition_size: channels of the condition.
        steady: constant controls give a constant condition, whatever the audio.
        grid: samples of the blocks for which it holds audio back, counted from where the audio began; 1 if it holds
            nothing back.
    """

    condition_size: int
    steady: bool = True

    @property
    def grid(self) -> int:
        """See the class."""
        return 1

    def initial_state(self, batch_size: int) -> State:
        """The state before the first sample. Empty where the condition has no memory."""
        return {}

    def held(self, state: State) -> int:
        """Samples of audio that are held back in a state."""
        return 0

    def forward(
        self, audio: Tensor, controls: Tensor | None, state: State, final: bool = False
    ) -> tuple[Tensor, Condition, State]:
        """The audio that can be processed by now, the condition for it, and the state after it.

        Args:
            audio: (batch, 1, time), what the model receives.
            controls: (batch, num_controls) or (batch, num_controls, time); None without controls.
            state: from `initial_state` or the call before.
            final: nothing follows.
        """
        raise NotImplementedError


class Modulation(nn.Module):
    """What one layer does to its features with the condition.

    Attributes:
        steady: without memory: constant features under a constant condition come out constant, so that the
            state at the start of a file costs one sample per layer. Otherwise the layer's pre-roll is run.
        grid: samples of the blocks for which it holds features back, counted from where the layer's own sequence
            begins; 1 if it holds nothing back.
    """

    steady: bool = True

    @property
    def grid(self) -> int:
        """See the class."""
        return 1

    def initial_state(self, batch_size: int) -> State:
        """The state before the first sample of the layer's own sequence. Empty without memory."""
        return {}

    def held(self, state: State) -> int:
        """Samples of features that are held back in a state."""
        return 0

    def forward(
        self, features: Tensor, condition: Condition, state: State, final: bool = False
    ) -> tuple[Tensor, State]:
        """Modulate features (batch, channels, time).

        Args:
            features: of one layer.
            condition: as the Conditioner gave it, or the controls where the conditioning has none, for these features.
            state: from `initial_state` or the call before.
            final: nothing follows.
        """
        raise NotImplementedError


class AffineModulation(Modulation):
    """y = g x + b, with g and b of each channel held over steps, so that a layer may fuse it with what follows.

    Attributes:
        pooled: samples of the blocks whose maxima it can be given; 0 if it needs none.
    """

    pooled: int = 0

    def ready(self, count: int, final: bool = False) -> int:
        """How many of `count` features, from the first one that was held back on, are not held back any more."""
        return count if final else count - count % self.grid

    def lead(self, state: State) -> int:
        """Samples of the block that new features belong to that came before them and are not held back."""
        return 0

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
        """The features that are ready, their steps [g, b] of twice the channels, and the state after them.

        Args:
            features: (batch, channels, time).
            condition: for the new ones, as in `forward`.
            state: from `initial_state` or the call before.
            final: nothing follows.
            whole: the features that were held back are given again, before the new ones.
            maxima: of the features, if they are at hand, (batch, channels, blocks); the first block begins `lead`
                samples before the features, the last one may be unfinished. The features are then given back
                whole, of which the first `ready` count.
        """
        raise NotImplementedError

    def forward(
        self,
        features: Tensor,
        condition: Condition,
        state: State,
        final: bool = False,
        activation: ActivationName = "identity",
    ) -> tuple[Tensor, State]:
        """Modulate features (batch, channels, time), see `Modulation`, and apply an activation of `dilated`."""
        if not features.shape[-1] and not (final and self.held(state)):
            return features, state
        step = self.affine(features, condition, state, final)
        return modulated(step.signal, step.steps, step.signal.shape[-1], activation), step.state
