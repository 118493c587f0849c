"""Models that each make a preset wrong in one way."""

from __future__ import annotations

import torch
from torch import nn

from nablafx_core.errors import ModelError
from nablafx_core.testing.tiny import TinyModel


class Refusing(TinyModel):
    """Model that accepts one knob only."""

    def __init__(self, sample_rate: int = 48000, controls=()):
        if len(controls) != 1:
            raise ModelError(f"one knob, not {len(controls)}.")
        super().__init__(sample_rate, controls)


class Fragile(TinyModel):
    """Model with a defect that appears with knobs, but is not a refusal of knobs."""

    def __init__(self, sample_rate: int = 48000, controls=()):
        super().__init__(sample_rate, controls)
        if controls:
            raise RuntimeError("a defect")


class Idle(TinyModel):
    """Model whose weight is not trained."""

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
    """Model that can stream, but fails offline."""

    def initial_state(self, batch_size, controls=None):
        return {"gain": torch.ones(batch_size, 1, 1)}

    def forward(self, audio, controls=None, state=None):
        if state is None:
            raise ModelError("offline.")
        return self.weight * state["gain"] * audio, state
