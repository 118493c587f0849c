"""Effects whose output depends on the present sample only."""

from __future__ import annotations

import torch
from torch import Tensor

from nablafx_core.controls import Parameter
from nablafx_core.interfaces import Processor
from nablafx_core.state import State


class Memoryless(Processor):
    """An effect y[t] = f(x[t], parameters[t]); no state, no latency."""

    def macs_per_sample(self) -> float:
        """Elementwise work does not count."""
        return 0.0

    def effect(self, audio: Tensor, **parameters: Tensor) -> Tensor:
        """f; audio is (batch, 1, time), parameters are (batch, 1, 1) or (batch, 1, time)."""
        raise NotImplementedError

    def forward(self, audio: Tensor, parameters: dict[str, Tensor], state: State | None = None) -> tuple[Tensor, State]:
        """Process audio (batch, 1, time)."""
        framed = {name: value.reshape(audio.shape[0], 1, -1) for name, value in parameters.items()}
        return self.effect(audio, **framed), {}


class Gain(Memoryless):
    """y = 10^(gain_db / 20) x.

    Args:
        sample_rate: Hz.
        min_gain_db, max_gain_db: range of the gain.
    """

    def __init__(self, sample_rate: int = 48000, min_gain_db: float = -32.0, max_gain_db: float = 32.0) -> None:
        super().__init__(sample_rate)
        self.effect_parameters = (Parameter("gain_db", min_gain_db, max_gain_db, "dB"),)

    def effect(self, audio: Tensor, gain_db: Tensor) -> Tensor:  # type: ignore[override]
        """Scale."""
        return audio * 10 ** (gain_db / 20)


class DCOffset(Memoryless):
    """y = x + offset, in parts of full scale.

    Args:
        sample_rate: Hz.
        min_offset, max_offset: range of the offset.
    """

    def __init__(self, sample_rate: int = 48000, min_offset: float = -2.0, max_offset: float = 2.0) -> None:
        super().__init__(sample_rate)
        self.effect_parameters = (Parameter("offset", min_offset, max_offset),)

    def effect(self, audio: Tensor, offset: Tensor) -> Tensor:  # type: ignore[override]
        """Shift."""
        return audio + offset


class PhaseInversion(Memoryless):
    """y = -x."""

    def effect(self, audio: Tensor) -> Tensor:  # type: ignore[override]
        """Invert."""
        return -audio


class Tanh(Memoryless):
    """y = tanh(x)."""

    def effect(self, audio: Tensor) -> Tensor:  # type: ignore[override]
        """Saturate."""
        return torch.tanh(audio)
