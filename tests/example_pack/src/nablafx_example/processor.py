"""A processor, an effect with parameters in physical units for gray-box chains."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nablafx_core.controls import Parameter
from nablafx_core.interfaces import Processor, Start
from nablafx_core.state import State
from nablafx_example.phase import phase_at, phases


class Tremolo(Processor):
    """y[n] = x[n] (1 - depth (1 - cos(2 pi p[n])) / 2),  p[n+1] = p[n] + rate_hz / sample_rate.

    The phase p is the state. It is 0 at the start of the file and is never forgotten, so that a segment from the middle
    of a file starts at the phase of its position.

    Args:
        sample_rate: sample rate in Hz.
        max_rate_hz: highest rate in Hz.
    """

    remembers_position = True

    def __init__(self, sample_rate: int, max_rate_hz: float = 12.0) -> None:
        super().__init__(sample_rate)
        self.effect_parameters = (
            Parameter("rate_hz", 0.5, max_rate_hz, "Hz", "log"),
            Parameter("depth", 0.0, 1.0),
        )

    def initial_state(self, batch_size: int, parameters: dict[str, Tensor] | None = None, start: Start = 0) -> State:
        """Return the phase at sample `start` of the file, for a rate that has been constant since its beginning."""
        rate = torch.zeros(batch_size) if parameters is None else parameters["rate_hz"]
        return {"phase": phase_at(rate, self.sample_rate, start)}

    def forward(self, audio: Tensor, parameters: dict[str, Tensor], state: State | None = None) -> tuple[Tensor, State]:
        """Process audio (batch, 1, time)."""
        batch_size, _, time = audio.shape
        rate, depth = (_over_time(parameters[name]) for name in ("rate_hz", "depth"))
        start = (self.initial_state(batch_size) if state is None else state)["phase"]
        phase, after = phases(rate, self.sample_rate, start, time)
        swing = (1 - torch.cos(2 * math.pi * phase)) / 2
        return audio * (1 - depth * swing.to(audio.dtype))[:, None], {"phase": after}


def _over_time(parameter: Tensor) -> Tensor:
    return parameter if parameter.ndim == 2 else parameter[:, None]
