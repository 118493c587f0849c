"""A metric, which measures a model over a whole split."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nablafx_core.interfaces import Metric

#: Smallest energy: that of one sample at -80 dB of full scale.
FLOOR = 1e-8


class SNR(Metric):
    """Signal-to-noise ratio in dB, 10 log10(sum(target^2) / sum(e^2)), e = prediction - target.

    Both sums are at least -80 dB, so that silence predicted as silence is 0 dB.

    Args:
        enough_db: value at which training stops, if given; see `nablafx_example.callback`.
    """

    lower_is_better = False

    def __init__(self, enough_db: float | None = None) -> None:
        self.enough_db = enough_db

    def statistics(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the energies of target and error, (batch, 2)."""
        target, prediction = (audio.cpu().double() for audio in (target, prediction))
        return torch.stack([part.square().sum(dim=(1, 2)) for part in (target, prediction - target)], dim=1)

    def value(self, sums: Tensor) -> float:
        """Return the ratio of the sums in dB."""
        signal, noise = (max(float(total), FLOOR) for total in sums)
        return 10 * math.log10(signal / noise)
