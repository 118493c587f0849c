"""A controller: what drives the parameters of a processor in a gray-box chain."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from nablafx_core.errors import ConfigError
from nablafx_core.interfaces import Controller
from nablafx_core.state import State
from nablafx_example.phase import phases


class LFO(Controller):
    """Low-frequency oscillator: u[n] = sigmoid(centre + depth sin(2 pi p[n])).

    Its rate is rate_hz 2^(octaves . controls), its phase p the state. One oscillator swings all parameters, each by
    its own depth about its own centre. These are trained, and so are the rate and the octaves by which each knob
    moves it.

    Args:
        num_parameters: of the processor.
        num_controls: knobs of the model.
        sample_rate: Hz.
        rate_hz: with which the training begins, all knobs at 0.
    """

    def __init__(
        self, num_parameters: int, num_controls: int = 0, sample_rate: int = 48000, rate_hz: float = 2.0
    ) -> None:
        super().__init__(num_parameters, num_controls)
        if not rate_hz > 0:
            raise ConfigError(f"lfo: rate_hz is above 0, not {rate_hz:g}.")
        self.sample_rate = sample_rate
        self.log_rate = nn.Parameter(torch.tensor(math.log2(rate_hz)))
        self.centre = nn.Parameter(torch.zeros(num_parameters, 1))
        self.depth = nn.Parameter(torch.ones(num_parameters, 1))
        self.register_parameter("octaves", nn.Parameter(torch.ones(num_controls, 1)) if num_controls else None)

    def initial_state(self, batch_size: int, controls: Tensor | None = None) -> State:
        """The middle of the swing, on the way up."""
        return {"phase": torch.zeros(batch_size, dtype=torch.float64)}

    def forward(
        self, audio: Tensor, controls: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Parameters in [0, 1], (batch, num_parameters, time)."""
        batch_size, _, time = audio.shape
        start = (self.initial_state(batch_size) if state is None else state)["phase"]
        octave = self.log_rate.expand(batch_size, 1)
        if self.octaves is not None and controls is not None:
            moving = controls if controls.ndim == 3 else controls[..., None]
            octave = octave + (self.octaves * moving).sum(dim=1)
        phase, after = phases(torch.exp2(octave), self.sample_rate, start, time)
        swing = torch.sin(2 * math.pi * phase).to(audio.dtype)[:, None]
        return (self.centre + self.depth * swing).sigmoid(), {"phase": after}
