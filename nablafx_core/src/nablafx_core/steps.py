"""Values that are constant within blocks of samples."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from nablafx_core.state import State


class Steps(NamedTuple):
    """One vector per block of samples, for a signal that ends `skip` samples before the last block does.

    Args:
        values: values of shape (batch, channels, blocks), or (batch, blocks) for one quantity.
        skip: number of samples of the last block that come after the signal; less than a block.
        block_size: number of samples of a block.
    """

    values: Tensor
    skip: int
    block_size: int

    def over(self, time: int) -> Tensor:
        """Repeat each block's vector for its samples, for the last `time` samples of the signal.

        Returns:
            Values of shape (batch, channels, time), or (batch, time) for one quantity.
        """
        first = (time + self.skip - 1) // self.block_size + 1 if time else 0
        held = self.values[..., self.values.shape[-1] - first :].repeat_interleave(self.block_size, dim=-1)
        stop = held.shape[-1] - self.skip
        return held[..., max(stop, 0) - time : max(stop, 0)]

    def last(self, time: int) -> Steps:
        """Return only the steps of the last `time` samples of the signal."""
        blocks = (time + self.skip - 1) // self.block_size + 1 if time else 0
        return self._replace(values=self.values[..., self.values.shape[-1] - blocks :])


class BlockStep(NamedTuple):
    """The samples that can be processed now, and the values that hold for their blocks.

    Args:
        signal: usable samples so far, of shape (batch, channels, time); with look-ahead the last, unfinished block is
            held back, so the signal may be shorter or longer than the input.
        steps: steps for these samples.
        state: state after these samples.
    """

    signal: Tensor
    steps: Steps
    state: State
