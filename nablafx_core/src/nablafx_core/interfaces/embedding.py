"""The contract of an embedding."""

from __future__ import annotations

from torch import Tensor, nn

from nablafx_core.interfaces.declared import ChecksSettings


class Embedding(nn.Module, ChecksSettings):
    """Network that maps audio to vectors, for distances between distributions such as the Fréchet audio distance.

    Attributes:
        sample_rate: sample rate in Hz of its input.
    """

    sample_rate: int = 16000

    def forward(self, audio: Tensor) -> Tensor:
        """Embed audio of shape (batch, 1, time).

        Returns:
            (batch, frames, size), each item's vectors independent of the other items.
        """
        raise NotImplementedError
