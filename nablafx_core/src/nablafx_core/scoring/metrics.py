"""Figures of merit over whole files and splits, from sums in float64 that add up in any order and batching.

In the equations e = prediction - target, and sums run over every sample of a split. A denominator is at
least `FLOOR`, so that silence predicted as silence scores 0 and no figure is ever NaN because of silence.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from nablafx_core.interfaces import Metric
from nablafx_core.scoring import losses

FLOOR = 1e-8
"""The least denominator: the energy of one sample at -80 dB below full scale."""

PIECE = 240_000
"""Samples of a piece, where a figure needs a stretch of signal at once: counted from the first sample that is
scored, so never a matter of batches or blocks. 5 s at 48 kHz, the test segment of the NablAFx paper."""


def _exact(audio: Tensor) -> Tensor:
    """In float64; on the CPU if the device has none (MPS)."""
    return (audio.cpu() if audio.device.type == "mps" else audio).double()


class Quotient(Metric):
    """A figure that is one sum divided by another; `statistics` gives both, (batch, 2)."""

    def value(self, sums: Tensor) -> float:
        """sums[0] / max(sums[1], FLOOR)."""
        return float(sums[0] / sums[1].clamp(min=FLOOR))


class SampleMean(Quotient):
    """The mean over samples of a distance that a subclass defines."""

    def distance(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The distance of each sample, in float64."""
        raise NotImplementedError

    def statistics(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Sum of the distance and number of samples, (batch, 2)."""
        distance = self.distance(_exact(prediction), _exact(target))
        return torch.stack([distance.sum(dim=(1, 2)), torch.ones_like(distance).sum(dim=(1, 2))], dim=1)


class MAE(SampleMean):
    """Mean absolute error, mean(|e|)."""

    def distance(self, prediction: Tensor, target: Tensor) -> Tensor:
        """|e|."""
        return (prediction - target).abs()


class MSE(SampleMean):
    """Mean squared error, mean(e^2)."""

    def distance(self, prediction: Tensor, target: Tensor) -> Tensor:
        """e^2."""
        return (prediction - target).square()


class MAPE(SampleMean):
    """Mean absolute percentage error as a fraction, mean(|e| / max(|target|, 1.17e-6)), as torchmetrics defines it.

    Samples near a zero crossing of the target dominate it.
    """

    needs_signal = True

    def distance(self, prediction: Tensor, target: Tensor) -> Tensor:
        """|e| / max(|target|, 1.17e-6)."""
        return (prediction - target).abs() / target.abs().clamp(min=1.17e-6)


class LogCosh(SampleMean):
    """Mean of log(cosh(e)). Chen et al., "Log hyperbolic cosine loss improves variational auto-encoder", 2019."""

    def distance(self, prediction: Tensor, target: Tensor) -> Tensor:
        """log(cosh(e))."""
        return losses.log_cosh(prediction - target)


class ESR(Quotient):
    """Error-to-signal ratio, sum(e^2) / sum(target^2).

    Wright and Välimäki, "Perceptual loss function for neural modeling of audio systems", ICASSP 2020.
    """

    needs_signal = True

    def statistics(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Energies of the error and of the target, (batch, 2)."""
        error, signal = _exact(prediction) - _exact(target), _exact(target)
        return torch.stack([part.square().sum(dim=(1, 2)) for part in (error, signal)], dim=1)


class DC(Quotient):
    """Offset of the error against the signal: sum over pieces of length mean(e)^2, divided by sum(target^2).

    Up to `PIECE` samples this is auraloss's DCLoss; offsets of opposite sign in two files do not cancel.
    """

    needs_signal = True

    def statistics(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Energies of the offset of the error and of the target, (batch, 2)."""
        error, signal = _exact(prediction) - _exact(target), _exact(target)
        offsets = [piece.mean(dim=-1, keepdim=True).expand_as(piece) for piece in torch.split(error, PIECE, dim=-1)]
        return torch.stack([part.square().sum(dim=(1, 2)) for part in (torch.cat(offsets, dim=-1), signal)], dim=1)


class CosineSimilarity(Metric):
    """sum(prediction target) / sqrt(sum(prediction^2) sum(target^2)); 1 if both are silent, 0 if one is."""

    needs_signal = True

    lower_is_better = False

    def statistics(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The three sums, (batch, 3)."""
        p, t = _exact(prediction), _exact(target)
        return torch.stack([part.sum(dim=(1, 2)) for part in (p * t, p.square(), t.square())], dim=1)

    def value(self, sums: Tensor) -> float:
        """sums[0] / sqrt(sums[1] sums[2])."""
        if not sums.any():
            return 1.0
        return float(sums[0] / (sums[1] * sums[2]).sqrt().clamp(min=torch.finfo(sums.dtype).tiny))


class MultiResolutionSTFT(Quotient):
    """The multi-resolution STFT distance of each piece, averaged with the pieces' lengths as weights.

    See `nablafx_core.scoring.losses.MultiResolutionSTFT`. A piece is `PIECE` samples; what is left at a file's
    end counts by its length, and is followed by silence if an FFT is longer.

    Args:
        fft_sizes: in samples, one per resolution.
        hop_sizes: in samples, one per resolution.
        win_lengths: of the Hann windows in samples, one per resolution.
    """

    def __init__(
        self,
        fft_sizes: Sequence[int] = (1024, 2048, 512),
        hop_sizes: Sequence[int] = (120, 240, 50),
        win_lengths: Sequence[int] = (600, 1200, 240),
    ) -> None:
        # A floor far below any recording: the published figure, and never NaN.
        self.distance = losses.MultiResolutionSTFT(fft_sizes, hop_sizes, win_lengths, floor_db=-200.0)

    def statistics(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Sum of length times distance and of length, (batch, 2)."""
        parts = []
        for pair in zip(*(torch.split(audio, PIECE, dim=-1) for audio in (prediction, target)), strict=True):
            length = pair[0].shape[-1]
            silence = max(0, self.distance.min_samples - length)
            distance = _exact(self.distance(*(functional.pad(piece, (0, silence)) for piece in pair)))
            parts.append(length * torch.stack([distance, torch.ones_like(distance)], dim=1))
        return torch.stack(parts).sum(dim=0)
