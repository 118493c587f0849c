"""The two parts of a conditioning: one per model, that reads the controls, and one per layer, that applies them.

Both carry their state as models do, a value that goes in and comes out.
"""

from __future__ import annotations

from torch import Tensor, nn

from nablafx_core.state import State


class Conditioner(nn.Module):
    """What a model computes once for all of its layers: a condition, from the controls and perhaps the audio.

    Attributes:
        condition_size: channels of the condition.
    """

    condition_size: int

    def initial_state(self, batch_size: int, controls: Tensor | None = None) -> State:
        """The state at the start of a file. Empty where the condition has no memory."""
        return {}

    def forward(self, audio: Tensor, controls: Tensor | None, state: State) -> tuple[Tensor, State]:
        """The condition, and the state after it.

        Args:
            audio: (batch, 1, time), what the model receives.
            controls: (batch, num_controls) or (batch, num_controls, time); None without controls.
            state: from `initial_state` or the call before.

        Returns:
            (batch, condition_size) where it stays the same for the whole block, else
            (batch, condition_size, time).
        """
        raise NotImplementedError


class Modulation(nn.Module):
    """What one layer does to its features with the condition.

    Attributes:
        steady: without memory: constant features under a constant condition come out constant, so that the
            state at the start of a file costs one sample per layer. Otherwise the layer's pre-roll is run.
    """

    steady: bool = True

    def initial_state(self, batch_size: int, condition: Tensor | None = None) -> State:
        """The state before the first sample of the layer's own sequence. Empty without memory."""
        return {}

    def forward(self, features: Tensor, condition: Tensor | None, state: State) -> tuple[Tensor, State]:
        """Modulate features (batch, channels, time).

        Args:
            features: of one layer.
            condition: as the Conditioner gave it, or the controls where the conditioning has none.
            state: from `initial_state` or the call before.
        """
        raise NotImplementedError
