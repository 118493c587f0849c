"""Compute the lag of each part of a chain, and keep the parts aligned with delay lines."""

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
    """Samples by which the parts of a stage run behind the chain's input.

    A controller that reads the chain's input runs ahead of its processor, so the latencies of several such controllers
    do not add up. A processor receives each sample together with its parameters, so the latency of its controller is
    added before its own.

    Args:
        arrives: lag of each audio input of the processor, several for a mix.
        hears: lag of the controller's input.
        processes: lag of the processor's input, which waits for the parameters.
        leaves: lag of the output.
    """

    arrives: tuple[int, ...]
    hears: int
    processes: int
    leaves: int

    @staticmethod
    def of(stage: Stage, arrives: tuple[int, ...], hears: int) -> Lag:
        """Return the lag of a stage from the lags of its audio inputs and of its controller's input, in samples."""
        processes = max(*arrives, hears + stage.controller.latency)
        return Lag(arrives, hears, processes, processes + stage.processor.latency)

    def lines(self, stage: Stage, batch_size: int, num_controls: int, like: Tensor) -> State:
        """Return the delay lines of a stage, filled with zeros; those with a delay of 0 are left out.

        They are ``audio{k}`` for each audio input, ``knobs`` for the controller, ``unit`` for its output, and, if the
        processor has latency, ``held`` for its last output; each (batch, channels, delay).
        """
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
    """Pass a block through a delay line; return the delayed block and the new lines.

    If the line does not exist, its delay is 0, and block and lines are returned unchanged.

    Args:
        lines: delay lines of a stage, each (batch, channels, delay).
        name: name of the line.
        values: block, (batch, channels, time), steps, or (batch, channels) for values that are constant in the block.
        time: number of samples in the block.
        steady: true if values without a time axis are constant over the whole file; they stay without a time axis.
    """
    if name not in lines:
        return values, lines
    if steady and isinstance(values, Tensor) and values.ndim == 2:
        return values, lines | {name: values[..., None].expand_as(lines[name])}
    line = torch.cat([lines[name], over_time(values, time)], dim=-1)
    return line[..., :time], lines | {name: line[..., time:]}


def over_time(values: Tensor | Steps, time: int) -> Tensor:
    """Expand (batch, n) and steps to (batch, n, time); return values with a time axis unchanged."""
    if isinstance(values, Steps):
        return values.over(time)
    return values if values.ndim == 3 else values[..., None].expand(-1, -1, time)


@overload
def since(values: Tensor, start: int) -> Tensor: ...


@overload
def since(values: Tensor | Steps, start: int) -> Tensor | Steps: ...


def since(values: Tensor | Steps, start: int) -> Tensor | Steps:
    """Return values (batch, n, time) from sample `start` on; values (batch, n) and steps are returned unchanged."""
    return values[..., start:] if isinstance(values, Tensor) and values.ndim == 3 else values


def held_after(unit: Tensor | Steps, last: int, time: int, lines: State) -> Tensor | Steps:
    """Hold the parameters of `time` samples from sample `last` on.

    They keep the value of the sample before; if `last` is 0 or less, the value in ``lines["held"]``.
    """
    if last >= time or (isinstance(unit, Tensor) and unit.ndim == 2):
        return unit
    unit = over_time(unit, time)
    held = unit[..., last - 1 : last] if last > 0 else lines["held"]
    return torch.cat([unit[..., : max(last, 0)], held.expand(-1, -1, unit.shape[-1] - max(last, 0))], dim=-1)
