"""Values that stand still for blocks of samples."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from nablafx_core.state import State


class Steps(NamedTuple):
    """One vector per block of samples, for a signal whose last sample is `skip` samples before the last block's end.

    Args:
        values: (batch, channels, blocks), or (batch, blocks) of one quantity.
        skip: samples of the last block that come after the signal, less than a block.
        block_size: samples of a block.
    """

    values: Tensor
    skip: int
    block_size: int

    def over(self, time: int) -> Tensor:
        """Each block's vector held over its samples, for the last `time` samples of the signal.

        Returns:
            (batch, channels, time), or (batch, time) of one quantity.
        """
        first = (time + self.skip - 1) // self.block_size + 1 if time else 0
        held = self.values[..., self.values.shape[-1] - first :].repeat_interleave(self.block_size, dim=-1)
        stop = held.shape[-1] - self.skip
        return held[..., max(stop, 0) - time : max(stop, 0)]

    def last(self, time: int) -> Steps:
        """The steps of the last `time` samples of the signal, and no others."""
        blocks = (time + self.skip - 1) // self.block_size + 1 if time else 0
        return self._replace(values=self.values[..., self.values.shape[-1] - blocks :])


class BlockStep(NamedTuple):
    """What `BlockRecurrence.advance` gives.

    Args:
        signal: (batch, channels, time), what can be used by now; with look-ahead the last, unfinished block is held
            back, so that it may be shorter or longer than what went in.
        steps: what to use it with.
        state: after it.
    """

    signal: Tensor
    steps: Steps
    state: State
