"""Compute a condition from the model's input, one vector per block of samples, which all layers share."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from nablafx_core.nn.block_recurrence import BlockRecurrence
from nablafx_core.state import State
from nablafx_models.conditioning.interface import BlockSettings, Condition, Conditioner


class AudioConditioner(BlockRecurrence, Conditioner):
    """c_b = LSTM(m_b, controls at the first sample of block b), one vector per block of samples.

    With look-ahead, m_b is the maximum of |audio| over block b, and a block of audio is held back until it is complete.
    Without it, m_b is the maximum over the block before (0 for the first block), and no audio is held back. Blocks are
    counted from the first sample of the audio.

    Args:
        num_controls: number of controls of the model; 0 for a condition that follows the audio alone.
        condition_size: channels of the condition, which is the hidden size of the LSTM.
        blocks: block size, look-ahead and number of LSTM layers.
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
        """Return the maximum of |signal| in each block, (batch, 1, blocks), and the signal, (batch, 1, time)."""
        return super().pool(signal.abs())[0], signal

    def forward(
        self, audio: Tensor, controls: Tensor | None, state: State, final: bool = False
    ) -> tuple[Tensor, Condition, State]:
        """Return the audio (batch, 1, time) that can be processed now, its condition as `Steps`, and the next state."""
        return self.advance(audio, controls, state, final)


def audio_conditioner(condition_size: int) -> Callable[[int, BlockSettings], Conditioner]:
    """Return a function that builds an `AudioConditioner` with a fixed `condition_size`, for `Conditioning`."""
    return lambda num_controls, blocks: AudioConditioner(num_controls, condition_size, blocks)
