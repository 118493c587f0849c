"""A loss, which training minimises."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from nablafx_core.errors import ConfigError
from nablafx_core.interfaces import Loss


class FramedESR(Loss):
    """Error-to-signal ratio of each frame, averaged, so that quiet passages count as much as loud ones.

    mean over frames and channels of  mean(e^2) / (mean(target^2) + 10^(floor_db / 10)),  e = prediction - target

    Args:
        frame: number of samples of a frame; the last frame is padded with silence.
        floor_db: power in dB of full scale that is added to the target's, so that silence does not dominate.
    """

    def __init__(self, frame: int = 512, floor_db: float = -50.0) -> None:
        super().__init__()
        if frame < 1:
            raise ConfigError(f"framed-esr: frame must be 1 or more, got {frame}.")
        self.frame = frame
        self.floor = 10 ** (floor_db / 10)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss of signals (batch, channels, time), (batch,)."""
        error, power = (self._power(audio) for audio in (prediction - target, target))
        return (error / (power + self.floor)).mean(dim=(1, 2))

    def _power(self, audio: Tensor) -> Tensor:
        """Return the mean square of each frame, (batch, channels, frames)."""
        padded = F.pad(audio, (0, -audio.shape[-1] % self.frame))
        return padded.unflatten(-1, (-1, self.frame)).square().mean(dim=-1)
