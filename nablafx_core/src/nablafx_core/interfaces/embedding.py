"""Contract of an embedding."""

from __future__ import annotations

from torch import Tensor, nn

from nablafx_core.interfaces.declared import ChecksSettings


class Embedding(nn.Module, ChecksSettings):
    """Network that maps audio to vectors, for distances between distributions such as the Fréchet audio distance.

    Attributes:
        sample_rate: sample rate of its input in Hz.
    """

    sample_rate: int = 16000

    def forward(self, audio: Tensor) -> Tensor:
        """Embed audio of shape (batch, 1, time).

        Returns:
            Vectors of shape (batch, frames, size); those of an item do not depend on the other items.
        """
        raise NotImplementedError
