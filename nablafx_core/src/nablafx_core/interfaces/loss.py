"""Contract of a training loss."""

from __future__ import annotations

from torch import Tensor, nn

from nablafx_core.interfaces.declared import ChecksSettings


class Loss(nn.Module, ChecksSettings):
    """Differentiable distance between a prediction and its target, one value per item of the batch.

    Attributes:
        min_samples: smallest number of samples that it can compare. Training and validation never pass shorter signals,
            and reject settings that would.
    """

    min_samples: int = 1

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compare two signals of shape (batch, channels, time).

        Returns:
            Values of shape (batch,), each independent of the other items, and finite for silence.
        """
        raise NotImplementedError
