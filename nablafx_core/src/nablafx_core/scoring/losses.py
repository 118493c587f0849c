"""Training losses: distances between a prediction and its target, one value per item of the batch.

In the equations e = prediction - target. L1, MSE and log-cosh take the mean over the time and the channels of an item.
ESR, DC and the multi-resolution STFT are ratios: they are formed for each channel, and then averaged over the channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from nablafx_core.errors import ConfigError, ModelError
from nablafx_core.interfaces import Loss
from nablafx_core.names import figure_names

#: Default power that is added to the target's where a loss divides by it, in dB relative to a mean square of 1: the
#: level of a quiet room.
FLOOR_DB = -40.0


class L1(Loss):
    """Mean absolute error over time and channels: mean(|e|)."""

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compare signals (batch, channels, time); return (batch,)."""
        return (prediction - target).abs().mean(dim=(1, 2))


class MSE(Loss):
    """Mean squared error over time and channels: mean(e^2)."""

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compare signals (batch, channels, time); return (batch,)."""
        return (prediction - target).square().mean(dim=(1, 2))


class ESR(Loss):
    """Error-to-signal ratio of each channel, mean(e^2) / (mean(target^2) + floor), averaged over the channels.

    The means run over time, and floor = 10^(floor_db / 10).
    Wright and Välimäki, "Perceptual loss function for neural modeling of audio systems", ICASSP 2020,
    which first applies a pre-emphasis filter y[n] = x[n] - c x[n-1] to both signals.

    Args:
        pre_emphasis: coefficient c, from 0 to 1, such as 0.85 or 0.95; 0 leaves the signals unchanged.
        floor_db: power that is added to the target's power, in dB relative to a mean square of 1. Without it, the
            fade-out of a note would outweigh the note, because the ratio divides by the segment's own power.

    Raises:
        ConfigError: if `pre_emphasis` is outside 0 to 1.
    """

    def __init__(self, pre_emphasis: float = 0.0, floor_db: float = FLOOR_DB) -> None:
        super().__init__()
        if not 0 <= pre_emphasis <= 1:
            raise ConfigError(f"esr: pre_emphasis is {pre_emphasis:g}; expected a coefficient from 0 to 1.")
        self.pre_emphasis = pre_emphasis
        self.floor = 10 ** (floor_db / 10)
        import auraloss  # slow to import, and not needed to read the settings

        self.ratio = auraloss.time.ESRLoss(reduction="none")

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compare signals (batch, channels, time); return (batch,)."""
        if self.pre_emphasis:
            prediction, target = (emphasised(audio, self.pre_emphasis) for audio in (prediction, target))
        self.ratio.eps = self.floor * target.shape[-1]  # auraloss adds it to the sum, not to the mean
        ratios: Tensor = self.ratio(prediction, target)
        return ratios.mean(dim=1)


class DC(Loss):
    """Squared offset of the error over the target's power, for each channel, averaged over the channels.

    mean(e)^2 / (mean(target^2) + floor), where the means run over time, and floor = 10^(floor_db / 10).
    Wright and Välimäki, "Perceptual loss function for neural modeling of audio systems", ICASSP 2020.

    Args:
        floor_db: power that is added to the target's power, in dB relative to a mean square of 1.
    """

    def __init__(self, floor_db: float = FLOOR_DB) -> None:
        super().__init__()
        import auraloss

        self.ratio = auraloss.time.DCLoss(eps=10 ** (floor_db / 10), reduction="none")

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compare signals (batch, channels, time); return (batch,)."""
        ratios: Tensor = self.ratio(prediction, target)
        return ratios.mean(dim=1)


class LogCosh(Loss):
    """Mean of log(cosh(a e)) / a over time and channels: a parabola for small errors, a line for large ones.

    Chen et al., "Log hyperbolic cosine loss improves variational auto-encoder", 2019.

    Args:
        a: scale of the error; the parabola becomes a line at errors of about 1 / a.

    Raises:
        ConfigError: if `a` is not above 0.
    """

    def __init__(self, a: float = 1.0) -> None:
        super().__init__()
        if a <= 0:
            raise ConfigError(f"log_cosh: a is {a:g}; expected a number above 0.")
        self.a = a

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compare signals (batch, channels, time); return (batch,)."""
        return (log_cosh(self.a * (prediction - target)) / self.a).mean(dim=(1, 2))


class MultiResolutionSTFT(Loss):
    """Multi-resolution STFT distance: spectral convergence and L1 distances of magnitudes.

    For magnitudes P and T, (bins, frames), of one channel of prediction and target at one resolution,
    w_sc ||T - P|| / ||T|| + w_log_mag mean(|log P - log T|) + w_lin_mag mean(|P - T|), with the natural logarithm. This
    is averaged over the resolutions and the channels. The energy of white noise at `floor_db` is added to ||T||^2, so
    that a fade-out does not outweigh the note.
    Yamamoto et al., "Parallel WaveGAN", ICASSP 2020; Steinmetz and Reiss, "auraloss", 2020, whose defaults these are,
    but for `floor_db`.

    Args:
        fft_sizes: lengths of the FFTs in samples, one per resolution.
        hop_sizes: distances between successive FFTs in samples, one per resolution.
        win_lengths: lengths of the Hann windows in samples, one per resolution.
        w_sc: weight of the spectral convergence.
        w_log_mag: weight of the distance of log magnitudes.
        w_lin_mag: weight of the distance of magnitudes.
        eps: smallest power of a bin; a lower power is replaced by it.
        floor_db: power of the white noise, in dB relative to a mean square of 1.

    Raises:
        ConfigError: if the lists do not have the same length, or are empty; if a hop or a window is shorter than 1
            sample; or if a window is longer than its FFT.
    """

    def __init__(
        self,
        fft_sizes: Sequence[int] = (1024, 2048, 512),
        hop_sizes: Sequence[int] = (120, 240, 50),
        win_lengths: Sequence[int] = (600, 1200, 240),
        w_sc: float = 1.0,
        w_log_mag: float = 1.0,
        w_lin_mag: float = 0.0,
        eps: float = 1e-8,
        floor_db: float = FLOOR_DB,
    ) -> None:
        super().__init__()
        _check_resolutions(fft_sizes, hop_sizes, win_lengths)
        self.min_samples = max(fft_sizes) // 2 + 1
        import auraloss

        self.distance = auraloss.freq.MultiResolutionSTFTLoss(
            list(fft_sizes),
            list(hop_sizes),
            list(win_lengths),
            w_sc=w_sc,
            w_log_mag=w_log_mag,
            w_lin_mag=w_lin_mag,
            eps=eps,
            reduction="none",
        )
        # auraloss takes one norm over the whole batch, which would make an item's value depend on the others.
        for stft in self.distance.stft_losses:
            # White noise of unit power has the window's energy in every bin.
            stft.spectralconv = _PerItem(
                _SpectralConvergence(10 ** (floor_db / 10) * float(stft.window.square().sum()))
            )
            stft.logstft, stft.linstft = _PerItem(stft.logstft), _PerItem(stft.linstft)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compare signals (batch, channels, time); return (batch,).

        Raises:
            ModelError: if the signals are too short for the largest FFT, which needs half its length and 1 sample more.
        """
        batch, channels, time = target.shape
        if time < self.min_samples:
            raise ModelError(
                f"mr_stft needs at least {self.min_samples} samples for its largest FFT, got {time}. "
                "Train on longer segments or set smaller fft_sizes."
            )
        # One item at a time fits into a CPU's cache; a GPU is faster with the whole batch in each call.
        at_once = 1 if target.device.type == "cpu" else batch * channels
        flat = (audio.reshape(batch * channels, 1, time) for audio in (prediction, target))
        pairs = zip(*(torch.split(audio, at_once) for audio in flat), strict=True)
        return torch.cat([self.distance(*pair) for pair in pairs]).view(batch, channels).mean(dim=1)


class _PerItem(nn.Module):
    """Average a distance between spectrograms (batch, bins, frames) over bins and frames, (batch,)."""

    def __init__(self, distance: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.distance = distance

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self.distance(prediction, target).mean(dim=(-2, -1))


class _SpectralConvergence:
    """Spectral convergence of each item, ||T - P|| / sqrt(||T||^2 + floor bins frames).

    It maps magnitudes P and T, (batch, bins, frames), to (batch, 1, 1).
    """

    def __init__(self, floor: float) -> None:
        self.floor = floor

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        error = torch.linalg.vector_norm(target - prediction, dim=(-2, -1), keepdim=True)
        bins, frames = target.shape[-2:]
        power = target.square().sum(dim=(-2, -1), keepdim=True) + self.floor * bins * frames
        ratio: Tensor = error / power.sqrt()
        return ratio


def _check_resolutions(fft_sizes: Sequence[int], hop_sizes: Sequence[int], win_lengths: Sequence[int]) -> None:
    sizes = f"fft_sizes {list(fft_sizes)}, hop_sizes {list(hop_sizes)}, win_lengths {list(win_lengths)}"
    if not 0 < len(fft_sizes) == len(hop_sizes) == len(win_lengths):
        raise ConfigError(
            f"mr_stft: fft_sizes, hop_sizes and win_lengths need one value per resolution, at least one, got {sizes}."
        )
    if min(*hop_sizes, *win_lengths) < 1 or any(w > f for f, w in zip(fft_sizes, win_lengths, strict=True)):
        raise ConfigError(
            f"mr_stft: hops and windows must be at least 1 long, and a window at most as long as its FFT, got {sizes}."
        )


def emphasised(audio: Tensor, coefficient: float) -> Tensor:
    """Apply the first-order high-pass y[n] = x[n] - coefficient x[n-1], with x[-1] = 0; the shape stays the same."""
    return audio - coefficient * nn.functional.pad(audio[..., :-1], (1, 0))


def log_cosh(x: Tensor) -> Tensor:
    """Compute log(cosh(x)) elementwise; accurate for small x in float32 and finite for large x, unlike its formula."""
    size = x.abs()
    return size + torch.log1p(torch.expm1(-2 * size) / 2)


class WeightedLoss(nn.Module):
    """Weighted sum of losses: an item's total is the sum over the parts of weight times the item's value.

    Args:
        parts: name, weight and loss of each part; repeated names are made unique by `nablafx_core.names.figure_names`.

    Attributes:
        min_samples: smallest number of samples that all parts can compare.
        neediest: name of the part that needs `min_samples`.

    Raises:
        ConfigError: if there are no parts.
    """

    def __init__(self, parts: Sequence[tuple[str, float, Loss]]) -> None:
        super().__init__()
        if not parts:
            raise ConfigError("loss: at least one loss is required, such as loss: [{name: l1}].")
        self.names = figure_names(name for name, _, _ in parts)
        self.weights = [weight for _, weight, _ in parts]
        self.losses = nn.ModuleList(loss for _, _, loss in parts)
        needs = {name: loss.min_samples for name, (_, _, loss) in zip(self.names, parts, strict=True)}
        self.neediest = max(needs, key=lambda name: needs[name])
        self.min_samples = needs[self.neediest]

    def forward(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare signals (batch, channels, time).

        Returns:
            The total of each item, (batch,), whose mean is the objective; and the mean of each part without its
            weight, detached. All tensors stay on the device.

        Raises:
            ModelError: if a part does not return one value per item.
        """
        values = [loss(prediction, target) for loss in self.losses]
        for name, value in zip(self.names, values, strict=True):
            if value.shape != target.shape[:1]:
                raise ModelError(
                    f"the loss '{name}' returned values of shape {tuple(value.shape)}; expected one value per item of "
                    f"the batch, ({target.shape[0]},). Reduce over channels and time, not over the batch."
                )
        weighted = [weight * value for weight, value in zip(self.weights, values, strict=True)]
        parts = {name: value.detach().mean() for name, value in zip(self.names, values, strict=True)}
        return torch.stack(weighted).sum(dim=0), parts
