"""A condition that follows the input of the model, block by block, once for all layers."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from nablafx_core.nn.block_recurrence import BlockRecurrence
from nablafx_core.state import State
from nablafx_models.conditioning.interface import BlockSettings, Condition, Conditioner


class AudioConditioner(BlockRecurrence, Conditioner):
    """c_b = LSTM(max over block b of |audio|, controls), one vector per block of samples.

    With look-ahead, a block of audio is held back until it is complete. Blocks are counted from the first sample of
    the audio.

    Args:
        num_controls: number of controls of the model.
        condition_size: channels of the condition.
        blocks: settings of the blocks and of the LSTM.
    """

    steady = False

    def __init__(self, num_controls: int, condition_size: int, blocks: BlockSettings) -> None:
        super().__init__(
            1,
            num_controls,
            condition_size,
            num_layers=blocks.num_layers,
            block_size=blocks.block_size,
            lookahead=blocks.lookahead,
        )
        self.condition_size = condition_size

    def pool(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        """Return the peak of each block, and the signal."""
        return super().pool(signal.abs())[0], signal

    def forward(
        self, audio: Tensor, controls: Tensor | None, state: State, final: bool = False
    ) -> tuple[Tensor, Condition, State]:
        """Return the audio (batch, 1, time) that can be processed now, its steps, and the state after it."""
        return self.advance(audio, controls, state, final)


def audio_conditioner(condition_size: int) -> Callable[[int, BlockSettings], Conditioner]:
    """Return a function that builds an `AudioConditioner` of this size, for `Conditioning`."""
    return lambda num_controls, blocks: AudioConditioner(num_controls, condition_size, blocks)
