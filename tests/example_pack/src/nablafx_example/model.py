"""A model: a low-pass filter that the knobs move, followed by a soft clipper."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nablafx_core.controls import Control
from nablafx_core.errors import ConfigError
from nablafx_core.interfaces import Model
from nablafx_core.state import State
from nablafx_example.one_pole import one_pole


class SoftTone(Model):
    """y = tanh(g LP(x)), where LP is a one-pole low-pass at cutoff_hz 2^(octaves . controls).

    The drive g, the cutoff and the octaves by which each knob moves it are trained.

    Args:
        sample_rate: sample rate in Hz.
        controls: knobs of the model.
        cutoff_hz: initial cutoff in Hz with all knobs at 0.
        octaves: initial octaves by which each knob moves the cutoff.
    """

    def __init__(
        self, sample_rate: int, controls: Sequence[Control] = (), cutoff_hz: float = 1000.0, octaves: float = 1.0
    ) -> None:
        super().__init__(sample_rate, controls)
        if not cutoff_hz > 0:
            raise ConfigError(f"soft-tone: cutoff_hz must be above 0, got {cutoff_hz:g}.")
        self.log_cutoff = nn.Parameter(torch.tensor(math.log2(cutoff_hz)))
        self.log_drive = nn.Parameter(torch.tensor(0.1))
        # Without knobs there is no such parameter: the laws refuse parameters that do not move the output.
        moved = nn.Parameter(torch.full((len(self.controls), 1), octaves)) if self.controls else None
        self.register_parameter("octaves", moved)

    def initial_state(self, batch_size: int, controls: Tensor | None = None) -> State:
        """Return the state for silence before the file."""
        return {"last": self.log_drive.new_zeros(batch_size)}

    def forward(
        self, audio: Tensor, controls: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Process audio (batch, 1, time)."""
        controls = self.checked_controls(audio, controls)
        last = self.initial_state(audio.shape[0])["last"] if state is None else state["last"]
        octave = self.log_cutoff.expand(audio.shape[0], 1)
        if controls is not None:
            moving = controls if controls.ndim == 3 else controls[..., None]
            octave = octave + (self.octaves * moving).sum(dim=1)
        low = one_pole(audio[:, 0], torch.exp2(octave), self.sample_rate, last)
        after = low[:, -1] if audio.shape[-1] else last
        return torch.tanh(torch.exp2(self.log_drive) * low)[:, None], {"last": after}
