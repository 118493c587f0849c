"""Which value of a coefficient or parameter belongs to which sample, where there is one per block of samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from nablafx_core.errors import ModelError
from nablafx_core.steps import Steps


class Frames(NamedTuple):
    """How the frames of a coefficient lie over a signal.

    Args:
        block_size: samples of a frame.
        first: frame of the first sample.
        lead: samples of that frame that come before the signal.
        last: frame of the last sample.
        left: samples of that frame up to the last sample, itself included.
    """

    block_size: int
    first: int
    lead: int
    last: int
    left: int


def frames_over(count: int, time: int, block_size: int, skip: int) -> Frames:
    """Lay `count` frames over a signal as `blocks_over` does; one frame is over the whole signal."""
    return Frames(max(time, 1), 0, 0, 0, time) if count == 1 else blocks_over(count, time, block_size, skip)


def blocks_over(count: int, time: int, block_size: int, skip: int) -> Frames:
    """Lay `count` blocks over a signal; see `nablafx_core.steps.Steps`.

    Raises:
        ModelError: if they do not reach over the signal.
    """
    lead, end = count * block_size - skip - time, count * block_size - skip
    if lead < 0 or skip < 0:
        raise ModelError(
            f"{count} frames of {block_size} samples, {skip} of them after the signal, are not enough for {time} "
            "samples."
        )
    last = max(end - 1, 0) // block_size
    return Frames(block_size, lead // block_size, lead % block_size, last, end - last * block_size)


def held(values: Tensor, time: int, block_size: int, skip: int) -> Tensor:
    """Frames (..., frames) held over the samples, (..., time); one frame stays one."""
    return values if values.shape[-1] == 1 else Steps(values, skip, block_size).over(time)


class Framed(NamedTuple):
    """Parameters on one grid.

    Args:
        values: by name, (batch, frames), or (batch, 1) for one that stands still.
        block_size: samples of a frame.
        skip: samples of the last frame that come after the signal.
    """

    values: dict[str, Tensor]
    block_size: int
    skip: int


def framed(parameters: Mapping[str, Tensor | Steps], time: int) -> Framed:
    """A processor's parameters on one grid: on that of its steps, or one frame per sample if there is no such grid.

    Args:
        parameters: by name, (batch,), (batch, time), or Steps of (batch, blocks).
        time: samples of the signal.
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
