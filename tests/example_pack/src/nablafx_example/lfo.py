"""A controller, which drives the parameters of a processor in a gray-box chain."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from nablafx_core.errors import ConfigError
from nablafx_core.interfaces import Controller, Start
from nablafx_core.state import State
from nablafx_example.phase import phase_at, phases


class LFO(Controller):
    """Low-frequency oscillator: u[n] = sigmoid(centre + depth sin(2 pi p[n])).

    The rate is rate_hz 2^(octaves . controls) and the phase p is the state. One oscillator moves all parameters, each
    by its own depth about its own centre. Depths, centres, the rate and the octaves of each knob are trained. The phase
    is 0 at the start of the file and is never forgotten, so that a segment from the middle of a file starts at the
    phase of its position.

    Args:
        num_parameters: number of the processor's parameters.
        num_controls: number of the model's knobs.
        sample_rate: sample rate in Hz.
        rate_hz: initial rate in Hz with all knobs at 0.
    """

    remembers_position = True

    def __init__(
        self, num_parameters: int, num_controls: int = 0, sample_rate: int = 48000, rate_hz: float = 2.0
    ) -> None:
        super().__init__(num_parameters, num_controls)
        if not rate_hz > 0:
            raise ConfigError(f"lfo: rate_hz must be above 0, got {rate_hz:g}.")
        self.sample_rate = sample_rate
        self.log_rate = nn.Parameter(torch.tensor(math.log2(rate_hz)))
        self.centre = nn.Parameter(torch.zeros(num_parameters, 1))
        self.depth = nn.Parameter(torch.ones(num_parameters, 1))
        self.register_parameter("octaves", nn.Parameter(torch.ones(num_controls, 1)) if num_controls else None)

    def initial_state(self, batch_size: int, controls: Tensor | None = None, start: Start = 0) -> State:
        """Return the phase at sample `start` of the file, for knobs that have not moved since its beginning."""
        return {"phase": phase_at(self._rate_hz(batch_size, controls)[:, 0], self.sample_rate, start)}

    def forward(
        self, audio: Tensor, controls: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Return parameters in [0, 1], (batch, num_parameters, time)."""
        batch_size, _, time = audio.shape
        start = (self.initial_state(batch_size) if state is None else state)["phase"]
        phase, after = phases(self._rate_hz(batch_size, controls), self.sample_rate, start, time)
        swing = torch.sin(2 * math.pi * phase).to(audio.dtype)[:, None]
        return (self.centre + self.depth * swing).sigmoid(), {"phase": after}

    def _rate_hz(self, batch_size: int, controls: Tensor | None) -> Tensor:
        """Return the rate, (batch, 1), or (batch, time) if the knobs move."""
        octave = self.log_rate.expand(batch_size, 1)
        if self.octaves is not None and controls is not None:
            moving = controls if controls.ndim == 3 else controls[..., None]
            octave = octave + (self.octaves * moving).sum(dim=1)
        return torch.exp2(octave)
