"""Which sample of the file each part of a chain is at, and the delay lines that keep them together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nablafx_core.graybox.stage import Stage
from nablafx_core.state import State


@dataclass(frozen=True)
class Lag:
    """Samples by which a stage runs behind the chain's input.

    A controller that reads the chain works ahead while the audio is still on its way, so the latencies of several of
    them do not add up.

    Args:
        arrives: of the audio that it is given.
        hears: of what its controller reads.
        processes: of what its processor is given, once the parameters are there.
        leaves: of its output.
    """

    arrives: int
    hears: int
    processes: int
    leaves: int

    @staticmethod
    def of(stage: Stage, arrives: int) -> Lag:
        """The lags of a stage whose audio arrives `arrives` samples late."""
        hears = arrives if stage.controller.reads == "processor" else 0
        processes = max(arrives, hears + stage.controller.latency)
        return Lag(arrives, hears, processes, processes + stage.processor.latency)

    def lines(self, stage: Stage, batch_size: int, num_controls: int, like: Tensor) -> State:
        """The delay lines of a stage, empty: of audio, of knobs, of parameters; and the last parameters."""
        count = stage.controller.num_parameters
        shapes = {
            "audio": (1, self.processes - self.arrives),
            "knobs": (num_controls, self.hears),
            "unit": (count, self.processes - self.hears - stage.controller.latency),
            "held": (count, min(stage.processor.latency, 1)),
        }
        return {name: like.new_zeros(batch_size, *shape) for name, shape in shapes.items() if all(shape)}

    def aligned(self, unit: Tensor, lines: State, time: int, steady: bool) -> tuple[Tensor, State]:
        """Parameters as late as the audio.

        Args:
            unit: what the controller yields for a block, (batch, n) or (batch, n, time).
            lines: of the stage.
            time: samples of the block.
            steady: whether parameters without a time axis are those of every block.
        """
        if "unit" in lines and steady and unit.ndim == 2:
            lines = lines | {"unit": unit[..., None].expand_as(lines["unit"])}
        elif "unit" in lines:
            unit, lines = through(lines, "unit", over_time(unit, time))
        if "held" in lines and time:
            lines = lines | {"held": over_time(unit, 1)[..., -1:]}
        return unit, lines


def through(lines: State, name: str, signal: Tensor) -> tuple[Tensor, State]:
    """A block (batch, channels, time) through the delay line of that name, if there is one."""
    if name not in lines:
        return signal, lines
    line = torch.cat([lines[name], signal], dim=-1)
    return line[..., : signal.shape[-1]], lines | {name: line[..., signal.shape[-1] :]}


def over_time(values: Tensor, time: int) -> Tensor:
    """(batch, n) as (batch, n, time); what has a time axis as it is."""
    return values if values.ndim == 3 else values[..., None].expand(-1, -1, time)


def held_after(unit: Tensor, last: int, lines: State) -> Tensor:
    """Parameters (batch, n, time) of which those after the first `last` samples are the last of them."""
    if unit.ndim == 2 or last >= unit.shape[-1]:
        return unit
    held = unit[..., last - 1 : last] if last > 0 else lines["held"]
    return torch.cat([unit[..., : max(last, 0)], held.expand(-1, -1, unit.shape[-1] - max(last, 0))], dim=-1)
