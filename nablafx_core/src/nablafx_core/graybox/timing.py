"""Which sample of the file each part of a chain is at, and the delay lines that keep them together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import overload

import torch
from torch import Tensor

from nablafx_core.graybox.stage import Stage
from nablafx_core.state import State
from nablafx_core.steps import Steps


@dataclass(frozen=True)
class Lag:
    """Samples by which a stage runs behind the chain's input.

    A controller that reads the chain works ahead while the audio is still on its way, so the latencies of several of
    them do not add up. A processor is given each sample together with its parameters, so that the latency of its
    controller comes before its own.

    Args:
        arrives: of each audio that it is given.
        hears: of what its controller reads.
        processes: of what its processor is given, once the parameters are there.
        leaves: of its output.
    """

    arrives: tuple[int, ...]
    hears: int
    processes: int
    leaves: int

    @staticmethod
    def of(stage: Stage, arrives: tuple[int, ...], hears: int) -> Lag:
        """The lags of a stage whose audio, and what its controller reads, arrives so many samples late."""
        processes = max(*arrives, hears + stage.controller.latency)
        return Lag(arrives, hears, processes, processes + stage.processor.latency)

    def lines(self, stage: Stage, batch_size: int, num_controls: int, like: Tensor) -> State:
        """The delay lines of a stage, empty: of audio, of knobs, of parameters; and the last parameters."""
        count = stage.controller.num_parameters
        shapes = {
            **{f"audio{k}": (1, self.processes - lag) for k, lag in enumerate(self.arrives)},
            "knobs": (num_controls, self.hears),
            "unit": (count, self.processes - self.hears - stage.controller.latency),
            "held": (count, min(stage.processor.latency, 1)),
        }
        return {name: like.new_zeros(batch_size, *shape) for name, shape in shapes.items() if all(shape)}


@overload
def through(lines: State, name: str, values: Tensor, time: int, steady: bool = False) -> tuple[Tensor, State]: ...


@overload
def through(
    lines: State, name: str, values: Tensor | Steps, time: int, steady: bool = False
) -> tuple[Tensor | Steps, State]: ...


def through(
    lines: State, name: str, values: Tensor | Steps, time: int, steady: bool = False
) -> tuple[Tensor | Steps, State]:
    """A block through the delay line of that name, if there is one.

    Args:
        lines: of a stage, each (batch, channels, delay).
        name: of one of them.
        values: (batch, channels, time), steps, or (batch, channels) for values that hold for the whole block.
        time: samples of the block.
        steady: whether what holds for this block holds for the whole file; then it stays without a time axis.
    """
    if name not in lines:
        return values, lines
    if steady and isinstance(values, Tensor) and values.ndim == 2:
        return values, lines | {name: values[..., None].expand_as(lines[name])}
    line = torch.cat([lines[name], over_time(values, time)], dim=-1)
    return line[..., :time], lines | {name: line[..., time:]}


def over_time(values: Tensor | Steps, time: int) -> Tensor:
    """(batch, n) and steps as (batch, n, time); what has a time axis as it is."""
    if isinstance(values, Steps):
        return values.over(time)
    return values if values.ndim == 3 else values[..., None].expand(-1, -1, time)


@overload
def since(values: Tensor, start: int) -> Tensor: ...


@overload
def since(values: Tensor | Steps, start: int) -> Tensor | Steps: ...


def since(values: Tensor | Steps, start: int) -> Tensor | Steps:
    """What has a time axis, (batch, n, time), from sample `start` on; (batch, n) and steps, which have no start."""
    return values[..., start:] if isinstance(values, Tensor) and values.ndim == 3 else values


def held_after(unit: Tensor | Steps, last: int, time: int, lines: State) -> Tensor | Steps:
    """Parameters of `time` samples of which those after the first `last` are the last of them."""
    if last >= time or (isinstance(unit, Tensor) and unit.ndim == 2):
        return unit
    unit = over_time(unit, time)
    held = unit[..., last - 1 : last] if last > 0 else lines["held"]
    return torch.cat([unit[..., : max(last, 0)], held.expand(-1, -1, unit.shape[-1] - max(last, 0))], dim=-1)
