"""Frames of coefficients and parameters, and the samples of a signal that they belong to.

A frame is one value, or one vector of values, that holds for a block of samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from nablafx_core.errors import ModelError
from nablafx_core.steps import Steps


class Frames(NamedTuple):
    """Position of the frames of a coefficient over a signal.

    Args:
        block_size: number of samples of a frame.
        first: index of the first sample's frame.
        lead: number of samples of that frame that come before the signal.
        last: index of the last sample's frame.
        left: number of samples of that frame up to and including the last sample.
    """

    block_size: int
    first: int
    lead: int
    last: int
    left: int


def frames_over(count: int, time: int, block_size: int, skip: int) -> Frames:
    """Lay `count` frames over a signal of `time` samples; see `blocks_over`.

    A single frame covers the whole signal; `block_size` and `skip` are then ignored.

    Raises:
        ModelError: if there are several frames and they do not cover the signal, or `skip` is below 0.
    """
    return Frames(max(time, 1), 0, 0, 0, time) if count == 1 else blocks_over(count, time, block_size, skip)


def blocks_over(count: int, time: int, block_size: int, skip: int) -> Frames:
    """Lay `count` blocks of samples over a signal, the last of which ends `skip` samples after the signal.

    The blocks may begin before the signal.

    Args:
        count: number of blocks.
        time: number of samples of the signal.
        block_size: number of samples of a block.
        skip: number of samples of the last block that come after the signal.

    Raises:
        ModelError: if the blocks do not cover the signal, or `skip` is below 0.
    """
    lead, end = count * block_size - skip - time, count * block_size - skip
    if lead < 0 or skip < 0:
        raise ModelError(
            f"{count} frames of {block_size} samples, {skip} samples of them after the signal, do not cover {time} "
            "samples. Pass one frame per block, and a skip of 0 or more."
        )
    last = max(end - 1, 0) // block_size
    return Frames(block_size, lead // block_size, lead % block_size, last, end - last * block_size)


def held(values: Tensor, time: int, block_size: int, skip: int) -> Tensor:
    """Repeat frames (..., frames) over their samples, (..., time); a single frame is returned as it is, (..., 1).

    For the arguments see `blocks_over`.
    """
    return values if values.shape[-1] == 1 else Steps(values, skip, block_size).over(time)


class Framed(NamedTuple):
    """Parameters of a processor, whose frames have the same positions over the signal.

    Args:
        values: parameters by name, (batch, frames), or (batch, 1) for a constant one.
        block_size: number of samples of a frame; 1 for one frame per sample, or if all parameters are constant.
        skip: number of samples of the last frame that come after the signal.
    """

    values: dict[str, Tensor]
    block_size: int
    skip: int


def framed(parameters: Mapping[str, Tensor | Steps], time: int) -> Framed:
    """Give the parameters of a processor frames with the same positions over the signal.

    These are the blocks of the steps if all `Steps` have the same blocks and no parameter is (batch, time); otherwise
    single samples, over which steps are repeated. Constant parameters have a single frame in both cases.

    Args:
        parameters: parameters by name, (batch,), (batch, time), or Steps of (batch, blocks).
        time: number of samples of the signal.
    """
    steps = [value for value in parameters.values() if isinstance(value, Steps)]
    grids = {(value.block_size, value.skip, value.values.shape[-1]) for value in steps}
    moving = any(not isinstance(value, Steps) and value.ndim == 2 for value in parameters.values())
    common = len(grids) == 1 and not moving
    values = {}
    for name, value in parameters.items():
        if isinstance(value, Steps):
            values[name] = value.values if common else value.over(time)
        else:
            values[name] = value if value.ndim == 2 else value[:, None]
    return Framed(values, steps[0].block_size, steps[0].skip) if common else Framed(values, 1, 0)
