"""Dataset in memory: noise through tanh, with or without a drive knob."""

from __future__ import annotations

import torch

from nablafx_core.controls import Control
from nablafx_core.data.sources import ArraySource
from nablafx_core.errors import DataError
from nablafx_core.interfaces import Dataset, Recording


class TanhDataset(Dataset):
    def __init__(self, samples: int = 12000, knobs: int = 0, sample_rate: int = 48000) -> None:
        self.sample_rate = sample_rate
        self.controls = tuple(Control(name, 0.0, 10.0) for name in ("drive", "level")[:knobs])
        self.recordings = tuple(self._recording(i, samples, knobs) for i in range(6))

    def _recording(self, number: int, samples: int, knobs: int) -> Recording:
        settings = tuple((number + k) % 3 / 2 for k in range(knobs))
        dry = 0.3 * torch.randn(samples, generator=torch.Generator().manual_seed(number))
        wet = torch.tanh((2 + 4 * sum(settings)) * dry)
        part = "test" if number == 5 else "trainval"
        return Recording(f"r{number}", ArraySource(dry), ArraySource(wet), f"r{number}", settings, part, 0, samples)


class Vanishing(TanhDataset):
    """Recordings that can no longer be read after they were listed."""

    def __init__(self) -> None:
        super().__init__()
        for recording in self.recordings:
            recording.wet.read = _gone


def _gone(start: int, stop: int) -> torch.Tensor:
    raise DataError("gone.wav: there is no such file.")
