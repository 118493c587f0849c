"""Training losses: distances between a prediction and its target, one value per item of the batch.

In the equations e = prediction - target, and mean and sum run over the time and the channels of one item.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from nablafx_core.errors import ConfigError, ModelError
from nablafx_core.interfaces import Loss
from nablafx_core.names import figure_names

#: Power under which a target counts as this power, where a loss divides by it: a quiet room, not digital silence.
FLOOR_DB = -40.0


class L1(Loss):
    """Mean absolute error: mean(|e|)."""

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compare (batch, channels, time) signals; (batch,)."""
        return (prediction - target).abs().mean(dim=(1, 2))


class MSE(Loss):
    """Mean squared error: mean(e^2)."""

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compare (batch, channels, time) signals; (batch,)."""
        return (prediction - target).square().mean(dim=(1, 2))


class ESR(Loss):
    """Error-to-signal ratio: mean(e^2) / (mean(target^2) + floor), averaged over channels.

    Wright and Välimäki, "Perceptual loss function for neural modeling of audio systems", ICASSP 2020,
    where a pre-emphasis filter y[n] = x[n] - c x[n-1] precedes it.

    Args:
        pre_emphasis: c, between 0 and 1, such as 0.85 or 0.95; 0 leaves the signals as they are.
        floor_db: power, in dB of full scale, that is added to the target's. Without it the fade-out of a note
            would outweigh the note, for the ratio divides by the segment's own power.
    """

    def __init__(self, pre_emphasis: float = 0.0, floor_db: float = FLOOR_DB) -> None:
        super().__init__()
        if not 0 <= pre_emphasis <= 1:
            raise ConfigError(f"esr: pre_emphasis is a coefficient from 0 to 1, not {pre_emphasis:g}.")
        self.pre_emphasis = pre_emphasis
        self.floor = 10 ** (floor_db / 10)
        import auraloss  # slow to import, and not needed to read the settings

        self.ratio = auraloss.time.ESRLoss(reduction="none")

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compare (batch, channels, time) signals; (batch,)."""
        if self.pre_emphasis:
            prediction, target = (emphasised(audio, self.pre_emphasis) for audio in (prediction, target))
        self.ratio.eps = self.floor * target.shape[-1]  # auraloss adds it to the sum, not to the mean
        ratios: Tensor = self.ratio(prediction, target)
        return ratios.mean(dim=1)


class DC(Loss):
    """Offset of the error against the target's power: mean(e)^2 / (mean(target^2) + floor), averaged over channels.

    Wright and Välimäki, "Perceptual loss function for neural modeling of audio systems", ICASSP 2020.

    Args:
        floor_db: power, in dB of full scale, that is added to the target's.
    """

    def __init__(self, floor_db: float = FLOOR_DB) -> None:
        super().__init__()
        import auraloss

        self.ratio = auraloss.time.DCLoss(eps=10 ** (floor_db / 10), reduction="none")

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compare (batch, channels, time) signals; (batch,)."""
        ratios: Tensor = self.ratio(prediction, target)
        return ratios.mean(dim=1)


class LogCosh(Loss):
    """Mean of log(cosh(a e)) / a: a parabola for small errors, a line for large ones.

    Chen et al., "Log hyperbolic cosine loss improves variational auto-encoder", 2019.

    Args:
        a: where the parabola becomes a line, at errors of about 1 / a.
    """

    def __init__(self, a: float = 1.0) -> None:
        super().__init__()
        if a <= 0:
            raise ConfigError(f"log_cosh: a is above 0, not {a:g}.")
        self.a = a

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compare (batch, channels, time) signals; (batch,)."""
        return (log_cosh(self.a * (prediction - target)) / self.a).mean(dim=(1, 2))


class MultiResolutionSTFT(Loss):
    """Multi-resolution STFT distance: spectral convergence and log-magnitude L1, averaged over window lengths.

    For magnitudes P and T of prediction and target,
    w_sc ||T - P|| / ||T|| + w_log_mag mean(|log P - log T|) + w_lin_mag mean(|P - T|), averaged over channels.
    ||T||^2 has that of white noise at `floor_db` added to it, so that a fade-out does not outweigh the note.
    Yamamoto et al., "Parallel WaveGAN", ICASSP 2020; Steinmetz and Reiss, "auraloss", 2020, whose defaults these are.

    Args:
        fft_sizes: in samples, one per resolution.
        hop_sizes: in samples, one per resolution.
        win_lengths: of the Hann windows in samples, one per resolution.
        w_sc: weight of the spectral convergence.
        w_log_mag: weight of the distance of log magnitudes.
        w_lin_mag: weight of the distance of magnitudes.
        eps: the power under which a bin counts as this power.
        floor_db: power of the white noise, in dB of full scale.
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
        # auraloss takes one norm over the whole batch, by which an item would see the others.
        for stft in self.distance.stft_losses:
            # White noise of unit power has the window's energy in every bin.
            stft.spectralconv = _PerItem(
                _SpectralConvergence(10 ** (floor_db / 10) * float(stft.window.square().sum()))
            )
            stft.logstft, stft.linstft = _PerItem(stft.logstft), _PerItem(stft.linstft)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compare (batch, channels, time) signals; (batch,).

        Raises:
            ModelError: if the signals are too short for the longest window.
        """
        batch, channels, time = target.shape
        if time < self.min_samples:
            raise ModelError(
                f"mr_stft needs at least {self.min_samples} samples for its largest FFT, and was given {time}. "
                "Train on longer segments or set smaller fft_sizes."
            )
        # One item at a time stays in a CPU's cache; a GPU wants the whole batch in each call.
        at_once = 1 if target.device.type == "cpu" else batch * channels
        flat = (audio.reshape(batch * channels, 1, time) for audio in (prediction, target))
        pairs = zip(*(torch.split(audio, at_once) for audio in flat), strict=True)
        return torch.cat([self.distance(*pair) for pair in pairs]).view(batch, channels).mean(dim=1)


class _PerItem(nn.Module):
    """Averages a distance of spectrograms (batch, bins, frames) over each item, to (batch,)."""

    def __init__(self, distance: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.distance = distance

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self.distance(prediction, target).mean(dim=(-2, -1))


class _SpectralConvergence:
    """||T - P|| / sqrt(||T||^2 + floor bins frames)."""

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
        raise ConfigError(f"mr_stft: as many fft_sizes as hop_sizes and win_lengths are needed: {sizes}.")
    if min(*hop_sizes, *win_lengths) < 1 or any(w > f for f, w in zip(fft_sizes, win_lengths, strict=True)):
        raise ConfigError(f"mr_stft: hops are at least 1 and a window is at most as long as its FFT: {sizes}.")


def emphasised(audio: Tensor, coefficient: float) -> Tensor:
    """First-order high-pass y[n] = x[n] - coefficient x[n-1], silence before the first sample; same shape."""
    return audio - coefficient * nn.functional.pad(audio[..., :-1], (1, 0))


def log_cosh(x: Tensor) -> Tensor:
    """log(cosh(x)), elementwise; exact for small x in float32 and finite for large ones, unlike the direct form."""
    size = x.abs()
    return size + torch.log1p(torch.expm1(-2 * size) / 2)


class WeightedLoss(nn.Module):
    """A weighted sum of losses: each item's total = sum over parts of weight x the item's value.

    Args:
        parts: (name, weight, loss) each; see `nablafx_core.names.figure_names` for what they are called.

    Attributes:
        min_samples: fewest samples that every part can compare.
        neediest: name of the part that needs this many samples.
    """

    def __init__(self, parts: Sequence[tuple[str, float, Loss]]) -> None:
        super().__init__()
        if not parts:
            raise ConfigError("training needs at least one loss, such as loss: [{name: l1}].")
        self.names = figure_names(name for name, _, _ in parts)
        self.weights = [weight for _, weight, _ in parts]
        self.losses = nn.ModuleList(loss for _, _, loss in parts)
        needs = {name: loss.min_samples for name, (_, _, loss) in zip(self.names, parts, strict=True)}
        self.neediest = max(needs, key=lambda name: needs[name])
        self.min_samples = needs[self.neediest]

    def forward(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare (batch, channels, time) signals.

        Returns:
            Each item's total, (batch,), whose mean is to be differentiated, and each part's mean before its weight,
            detached; all stay on the device.

        Raises:
            ModelError: if a part does not give one value per item.
        """
        values = [loss(prediction, target) for loss in self.losses]
        for name, value in zip(self.names, values, strict=True):
            if value.shape != target.shape[:1]:
                raise ModelError(
                    f"the loss '{name}' gave values of shape {tuple(value.shape)} for a batch of {target.shape[0]}; "
                    f"expected one value per item, ({target.shape[0]},). Reduce over channels and time, not the batch."
                )
        weighted = [weight * value for weight, value in zip(self.weights, values, strict=True)]
        parts = {name: value.detach().mean() for name, value in zip(self.names, values, strict=True)}
        return torch.stack(weighted).sum(dim=0), parts
