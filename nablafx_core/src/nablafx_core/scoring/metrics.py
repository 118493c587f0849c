"""Metrics over whole files and splits, computed from float64 sums that do not depend on order or batching.

In the equations e = prediction - target, and sums and means run over every sample of all channels of a split, unless
said otherwise. Silence never causes NaN: a denominator is at least `FLOOR`, so that silence predicted as silence scores
0, or 1 as a similarity.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from nablafx_core.interfaces import Metric
from nablafx_core.scoring import losses

FLOOR = 1e-8
"""Smallest denominator: the energy of one sample of 1e-4, -80 dB of full scale."""

PIECE = 240_000
"""Number of samples in a piece, for metrics that need a stretch of signal at once; pieces are counted from the first
sample that is scored, so that they do not depend on batches or blocks. 5 s at 48 kHz, as in the NablAFx paper."""


def _exact(audio: Tensor) -> Tensor:
    """Convert to float64, on the CPU if the device does not support it (MPS)."""
    return (audio.cpu() if audio.device.type == "mps" else audio).double()


class Quotient(Metric):
    """Metric that is one sum divided by another; `statistics` returns both sums, (batch, 2)."""

    def value(self, sums: Tensor) -> float:
        """Return sums[0] / max(sums[1], FLOOR)."""
        return float(sums[0] / sums[1].clamp(min=FLOOR))


class SampleMean(Quotient):
    """Mean over samples of a distance that a subclass defines."""

    def distance(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the distance of each sample, in float64."""
        raise NotImplementedError

    def statistics(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the sum of the distances and the number of samples, (batch, 2)."""
        distance = self.distance(_exact(prediction), _exact(target))
        return torch.stack([distance.sum(dim=(1, 2)), torch.ones_like(distance).sum(dim=(1, 2))], dim=1)


class MAE(SampleMean):
    """Mean absolute error, mean(|e|)."""

    def distance(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return |e|."""
        return (prediction - target).abs()


class MSE(SampleMean):
    """Mean squared error, mean(e^2)."""

    def distance(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return e^2."""
        return (prediction - target).square()


class MAPE(SampleMean):
    """Mean absolute percentage error as a fraction, mean(|e| / max(|target|, 1.17e-6)), as torchmetrics defines it.

    Samples near a zero crossing of the target dominate it.
    """

    needs_signal = True

    def distance(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return |e| / max(|target|, 1.17e-6)."""
        return (prediction - target).abs() / target.abs().clamp(min=1.17e-6)


class LogCosh(SampleMean):
    """Mean of log(cosh(e)). Chen et al., "Log hyperbolic cosine loss improves variational auto-encoder", 2019."""

    def distance(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return log(cosh(e))."""
        return losses.log_cosh(prediction - target)


class ESR(Quotient):
    """Error-to-signal ratio, sum(e^2) / sum(target^2), without pre-emphasis.

    Wright and Välimäki, "Perceptual loss function for neural modeling of audio systems", ICASSP 2020.
    """

    needs_signal = True

    def statistics(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the energies of the error and of the target, (batch, 2)."""
        error, signal = _exact(prediction) - _exact(target), _exact(target)
        return torch.stack([part.square().sum(dim=(1, 2)) for part in (error, signal)], dim=1)


class DC(Quotient):
    """Energy of the error's offset over the energy of the target, sum(length mean(e)^2) / sum(target^2).

    The numerator is a sum over pieces of at most `PIECE` samples of each channel, and mean(e) is the mean over a piece.
    Offsets of opposite sign in two files therefore do not cancel. For one channel of at most `PIECE` samples this is
    auraloss's DCLoss.
    """

    needs_signal = True

    def statistics(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the energies of the error's offset in pieces and of the target, (batch, 2)."""
        error, signal = _exact(prediction) - _exact(target), _exact(target)
        offsets = [piece.mean(dim=-1, keepdim=True).expand_as(piece) for piece in torch.split(error, PIECE, dim=-1)]
        return torch.stack([part.square().sum(dim=(1, 2)) for part in (torch.cat(offsets, dim=-1), signal)], dim=1)


class CosineSimilarity(Metric):
    """Cosine similarity, sum(prediction target) / sqrt(sum(prediction^2) sum(target^2)).

    It is 1 if both signals are silent, and 0 if one of them is.
    """

    needs_signal = True

    lower_is_better = False

    def statistics(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the sums of prediction target, prediction^2 and target^2, (batch, 3)."""
        p, t = _exact(prediction), _exact(target)
        return torch.stack([part.sum(dim=(1, 2)) for part in (p * t, p.square(), t.square())], dim=1)

    def value(self, sums: Tensor) -> float:
        """Return sums[0] / sqrt(sums[1] sums[2]); 1 if all are 0."""
        if not sums.any():
            return 1.0
        return float(sums[0] / (sums[1] * sums[2]).sqrt().clamp(min=torch.finfo(sums.dtype).tiny))


class MultiResolutionSTFT(Quotient):
    """Multi-resolution STFT distance, averaged over pieces with their lengths as weights.

    The distance is `nablafx_core.scoring.losses.MultiResolutionSTFT` with its default weights, and with a floor of
    -200 dB, far below any recording. A piece has `PIECE` samples. The last piece of a file may be shorter; it is padded
    with silence if it is shorter than an FFT needs.

    Args:
        fft_sizes: lengths of the FFTs in samples, one per resolution.
        hop_sizes: distances between successive FFTs in samples, one per resolution.
        win_lengths: lengths of the Hann windows in samples, one per resolution.

    Raises:
        ConfigError: as the loss raises it.
    """

    def __init__(
        self,
        fft_sizes: Sequence[int] = (1024, 2048, 512),
        hop_sizes: Sequence[int] = (120, 240, 50),
        win_lengths: Sequence[int] = (600, 1200, 240),
    ) -> None:
        # A floor far below any recording gives the published metric, and never NaN.
        self.distance = losses.MultiResolutionSTFT(fft_sizes, hop_sizes, win_lengths, floor_db=-200.0)

    def statistics(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the sum of length times distance, and the sum of the lengths, (batch, 2)."""
        parts = []
        for pair in zip(*(torch.split(audio, PIECE, dim=-1) for audio in (prediction, target)), strict=True):
            length = pair[0].shape[-1]
            silence = max(0, self.distance.min_samples - length)
            distance = _exact(self.distance(*(functional.pad(piece, (0, silence)) for piece in pair)))
            parts.append(length * torch.stack([distance, torch.ones_like(distance)], dim=1))
        return torch.stack(parts).sum(dim=0)
