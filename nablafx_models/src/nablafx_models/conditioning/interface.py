"""The two parts of a conditioning: one per model, that reads the controls, and one per layer, that applies them.

Both carry their state as models do, a value that goes in and comes out. Both may hold samples back until they know what
to do with them; what they return then ends earlier than what they were given, and `final` makes them return the rest.
"""

from __future__ import annotations

from torch import Tensor, nn

from nablafx_core.nn.blocks import Steps
from nablafx_core.state import State

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
