"""Minimal dataset and model, for checks of components that need an experiment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nablafx_core.controls import Control
from nablafx_core.data.sources import ArraySource
from nablafx_core.interfaces import Dataset, Model, Recording
from nablafx_core.state import State

#: Names of the dataset and the model in an experiment.
TINY_DATA, TINY_MODEL = "nablafx_core.testing.tiny:TinyData", "nablafx_core.testing.tiny:TinyModel"


class TinyData(Dataset):
    """Dataset of four mono recordings in memory: dry x is noise, wet is tanh(3 x).

    Args:
        num_controls: number of knobs, which have no effect.
        num_samples: number of samples of each recording.
        sample_rate: sample rate in Hz.
    """

    def __init__(self, num_controls: int = 0, num_samples: int = 8192, sample_rate: int = 48000) -> None:
        self.sample_rate = sample_rate
        self.controls = tuple(Control(f"knob{number}") for number in range(num_controls))
        self.recordings = tuple(self._recording(f"noise{number}", number, num_samples) for number in range(4))

    def _recording(self, name: str, seed: int, num_samples: int) -> Recording:
        dry = 0.3 * torch.randn(num_samples, generator=torch.Generator().manual_seed(seed))
        wet = torch.tanh(3 * dry)
        knobs = tuple((seed + number) % 4 / 3 for number in range(len(self.controls)))
        return Recording(name, ArraySource(dry), ArraySource(wet), name, knobs, stop=num_samples)


class TinyModel(Model):
    """Model y = weight x.

    Args:
        sample_rate: sample rate in Hz.
        controls: knobs, which have no effect.
    """

    def __init__(self, sample_rate: int = 48000, controls: Sequence[Control] = ()) -> None:
        super().__init__(sample_rate, controls)
        self.receptive_field = 1
        self.weight = nn.Parameter(torch.ones(()))

    def initial_state(self, batch_size: int, controls: Tensor | None = None) -> State:
        """Return an empty state, because the model has no memory."""
        return {}

    def forward(
        self, audio: Tensor, controls: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Scale audio (batch, 1, time)."""
        self.checked_controls(audio, controls)
        return self.weight * audio, {}


def tiny_sections(num_controls: int = 0) -> dict[str, Any]:
    """Return the sections `data` and `model` of an experiment with `TinyData` and `TinyModel`.

    Args:
        num_controls: number of knobs of the data, and so of the model.
    """
    return {
        "data": {"name": TINY_DATA, "num_controls": num_controls, "segment_length": 1024, "batch_size": 2},
        "model": {"name": TINY_MODEL},
    }
