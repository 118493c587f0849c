"""The contract of a metric."""

from __future__ import annotations

from torch import Tensor

from nablafx_core.interfaces.declared import ChecksSettings


class Metric(ChecksSettings):
    """A figure of merit over a whole split, built from sums, so that batching and order change nothing.

    The figure of a split is ``value(sum of statistics over its items)``.

    Attributes:
        lower_is_better: how runs are ranked.
        needs_signal: true if the figure is relative to the target's energy, so that it is undefined for a recording
            whose target is silent.
    """

    lower_is_better: bool = True
    needs_signal: bool = False

    def statistics(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Sums for each item of a batch, (batch, n), in float64.

        Args:
            prediction: (batch, channels, time).
            target: of the same shape.
        """
        raise NotImplementedError

    def value(self, sums: Tensor) -> float:
        """The figure for sums of shape (n,)."""
        raise NotImplementedError
