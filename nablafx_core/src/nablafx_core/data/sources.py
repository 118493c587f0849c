"""Where samples come from: files, read piece by piece, or memory."""

from __future__ import annotations

from torch import Tensor


class ArraySource:
    """A signal held in memory.

    Args:
        audio: (time,).
    """

    def __init__(self, audio: Tensor) -> None:
        self.audio = audio

    @property
    def num_samples(self) -> int:
        """Its length."""
        return self.audio.shape[-1]

    def read(self, start: int, stop: int) -> Tensor:
        """Samples start to stop, (time,)."""
        return self.audio[start:stop]
