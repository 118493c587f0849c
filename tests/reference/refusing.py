"""Models with which a preset is wrong in one way each."""

from __future__ import annotations

import torch
from torch import nn

from nablafx_core.errors import ModelError
from nablafx_core.testing.tiny import TinyModel


class Refusing(TinyModel):
    """For one knob only."""

    def __init__(self, sample_rate: int = 48000, controls=()):
        if len(controls) != 1:
            raise ModelError(f"one knob, not {len(controls)}.")
        super().__init__(sample_rate, controls)


class Fragile(TinyModel):
    """Has a defect with knobs, which is no refusal of them."""

    def __init__(self, sample_rate: int = 48000, controls=()):
        super().__init__(sample_rate, controls)
        if controls:
            raise RuntimeError("a defect")


class Idle(TinyModel):
    """Its weight is not trained."""

    def __init__(self, sample_rate: int = 48000, controls=()):
        super().__init__(sample_rate, controls)
        self.other = nn.Parameter(torch.zeros(1))

    def forward(self, audio, controls=None, state=None):
        return (self.weight - self.weight + 1) * audio + 0 * self.other.detach(), {}


class Endless(TinyModel):
    def forward(self, audio, controls=None, state=None):
        return self.weight * audio / 0 * 0, {}


class Steep(TinyModel):
    def forward(self, audio, controls=None, state=None):
        return audio + (self.weight - 1).abs().sqrt(), {}


class Chunked(TinyModel):
    """Streams only: what is offline fails."""

    def initial_state(self, batch_size, controls=None):
        return {"gain": torch.ones(batch_size, 1, 1)}

    def forward(self, audio, controls=None, state=None):
        if state is None:
            raise ModelError("offline.")
        return self.weight * state["gain"] * audio, state
