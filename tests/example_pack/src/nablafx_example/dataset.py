"""A dataset of synthesised recordings. A dataset of audio files uses `nablafx_core.data.sources.WavSource` instead."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nablafx_core.controls import Control
from nablafx_core.data.sources import ArraySource
from nablafx_core.interfaces import Dataset, Recording
from nablafx_example.one_pole import one_pole


class Bursts(Dataset):
    """Decaying sines through a low-pass of 500 Hz to 4 kHz and a soft clipper.

    Args:
        num_sources: number of dry signals; each is recorded at every position of the knob.
        seconds: length of each signal in s.
        tones: positions of the knob, in [0, 1].
        sample_rate: sample rate in Hz.
        seed: seed of the pitches.
    """

    def __init__(
        self,
        num_sources: int = 6,
        seconds: float = 1.0,
        tones: Sequence[float] = (0.0, 0.5, 1.0),
        sample_rate: int = 16000,
        seed: int = 0,
    ) -> None:
        self.sample_rate = sample_rate
        self.controls = (Control("tone", 0.0, 10.0),)
        random = torch.Generator().manual_seed(seed)
        recordings = []
        for number in range(num_sources):
            dry = _bursts(seconds, sample_rate, random)
            recordings += [self._recording(f"burst{number}", dry, tone) for tone in tones]
        self.recordings = tuple(recordings)

    def _recording(self, source: str, dry: Tensor, tone: float) -> Recording:
        cutoff_hz = torch.full((1, 1), 500.0 * 8.0**tone, dtype=torch.float64)
        low = one_pole(dry[None].double(), cutoff_hz, self.sample_rate, torch.zeros(1, dtype=torch.float64))
        wet = torch.tanh(4 * low[0]).float()
        return Recording(
            name=f"{source}, tone {10 * tone:g}",
            dry=ArraySource(dry),
            wet=ArraySource(wet),
            source=source,
            controls=(tone,),
            stop=dry.shape[0],
        )


def _bursts(seconds: float, sample_rate: int, random: torch.Generator) -> Tensor:
    """Return four notes of random pitch over three octaves, each decaying to a thousandth."""
    notes, length = 4, int(seconds * sample_rate) // 4
    time = torch.arange(length, dtype=torch.float64) / sample_rate
    pitch_hz = 110 * 8 ** torch.rand(notes, 1, generator=random, dtype=torch.float64)
    notes_played = torch.sin(2 * math.pi * pitch_hz * time) * 10 ** (-3 * time * sample_rate / max(1, length))
    return 0.8 * notes_played.flatten().float()
