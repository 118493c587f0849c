"""Frames of coefficients and parameters, and the samples of a signal that they belong to."""

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
    """Lay `count` frames over a signal as `blocks_over` does; a single frame covers the whole signal."""
    return Frames(max(time, 1), 0, 0, 0, time) if count == 1 else blocks_over(count, time, block_size, skip)


def blocks_over(count: int, time: int, block_size: int, skip: int) -> Frames:
    """Lay `count` blocks over a signal; see `nablafx_core.steps.Steps`.

    Raises:
        ModelError: if the blocks do not cover the signal.
    """
    lead, end = count * block_size - skip - time, count * block_size - skip
    if lead < 0 or skip < 0:
        raise ModelError(
            f"{count} frames of {block_size} samples, {skip} samples of them after the signal, do not cover {time} "
            "samples. Pass one frame per block."
        )
    last = max(end - 1, 0) // block_size
    return Frames(block_size, lead // block_size, lead % block_size, last, end - last * block_size)


def held(values: Tensor, time: int, block_size: int, skip: int) -> Tensor:
    """Repeat frames (..., frames) over their samples, (..., time); a single frame is returned as it is."""
    return values if values.shape[-1] == 1 else Steps(values, skip, block_size).over(time)


class Framed(NamedTuple):
    """Parameters on one grid.

    Args:
        values: parameters by name, (batch, frames), or (batch, 1) for a constant one.
        block_size: number of samples of a frame.
        skip: number of samples of the last frame that come after the signal.
    """

    values: dict[str, Tensor]
    block_size: int
    skip: int


def framed(parameters: Mapping[str, Tensor | Steps], time: int) -> Framed:
    """Put a processor's parameters on one grid: that of its steps, or one frame per sample if they have no common grid.

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
