"""The contract of a training loss."""

from __future__ import annotations

from torch import Tensor, nn

from nablafx_core.interfaces.declared import ChecksSettings


class Loss(nn.Module, ChecksSettings):
    """Differentiable distance between a prediction and its target, one value per item of the batch.

    Attributes:
        min_samples: fewest samples that it can compare. Training and validation never pass shorter signals, and refuse
            settings that would.
    """

    min_samples: int = 1

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compare two signals of shape (batch, channels, time).

        Returns:
            (batch,), each item's value independent of the others; finite for silence.
        """
        raise NotImplementedError
