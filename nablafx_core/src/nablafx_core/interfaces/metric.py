"""Contract of a metric."""

from __future__ import annotations

from torch import Tensor

from nablafx_core.interfaces.declared import ChecksSettings


class Metric(ChecksSettings):
    """A figure of merit of a whole split, computed from sums, so that batch size and order do not change it.

    The figure of a split is ``value(sum of statistics over its items)``.

    Attributes:
        lower_is_better: true if runs with a smaller figure rank first.
        needs_signal: true if the figure is relative to the target's energy, and thus undefined for a recording whose
            target is silent.
    """

    lower_is_better: bool = True
    needs_signal: bool = False

    def statistics(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the sums of each item of a batch, of shape (batch, n), in float64.

        Args:
            prediction: model output of shape (batch, channels, time).
            target: target of the same shape.
        """
        raise NotImplementedError

    def value(self, sums: Tensor) -> float:
        """Return the figure for sums of shape (n,)."""
        raise NotImplementedError
