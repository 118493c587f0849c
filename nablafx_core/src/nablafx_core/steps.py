"""Values that are constant within blocks of samples."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from nablafx_core.state import State


class Steps(NamedTuple):
    """One vector per block of samples, for a signal that ends `skip` samples before the last block does.

    Args:
        values: values of shape (batch, channels, blocks), or (batch, blocks) for one quantity; one for each block that
            the signal overlaps, in order of time.
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
        """Return only the steps of the blocks that the last `time` samples of the signal overlap."""
        blocks = (time + self.skip - 1) // self.block_size + 1 if time else 0
        return self._replace(values=self.values[..., self.values.shape[-1] - blocks :])


class BlockStep(NamedTuple):
    """Result of one call of a recurrence over blocks of samples; see `nablafx_core.nn.block_recurrence`.

    Args:
        signal: samples to process now, of shape (batch, channels, time). Without look-ahead, those of the input. With
            look-ahead, a block is held back until it is complete: the samples held back before and those of the input,
            up to the last complete block, or to the end if the signal ends here. A caller of `advance` that passes
            `maxima` also gets the samples of the unfinished block.
        steps: steps for the samples that are not held back.
        state: state for the next call; it contains the samples that are held back.
    """

    signal: Tensor
    steps: Steps
    state: State
