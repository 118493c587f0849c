"""Tiny temporal FiLM: temporal FiLM through a bottleneck."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from nablafx_models.conditioning.interface import Conditioning, initialize_to_identity
from nablafx_models.conditioning.tfilm import TFiLM, block_arguments


class TinyTFiLM(TFiLM):
    """`TFiLM` with fewer channels in its LSTM (Comunità et al., 2025, arXiv:2502.11668).

    [g_b, h_b] = ReLU(W3 ReLU(W2 ReLU(W1 LSTM(W0 m_b, controls)))) with the maxima m_b of `TFiLM`. W0 reduces the maxima
    to the bottleneck; W1, W2 and W3 expand the output of the LSTM to 16, 32 and twice the channels. Each has a bias.

    Args:
        channels: channels of the features.
        num_controls: number of controls, appended to the reduced maxima.
        bottleneck: channels of the reduced maxima, and hidden size of the LSTM.
        recurrence: `block_size`, `lookahead` and `num_layers` of `BlockRecurrence`.
    """

    def __init__(self, channels: int, num_controls: int, bottleneck: int = 4, **recurrence: Any) -> None:
        super().__init__(channels, num_controls, bottleneck, reduced=bottleneck, **recurrence)
        self.conv = nn.Conv1d(channels, bottleneck, 1)
        last = nn.Conv1d(32, 2 * channels, 1)
        initialize_to_identity(last)
        layers = [nn.Conv1d(bottleneck, 16, 1), nn.ReLU(), nn.Conv1d(16, 32, 1), nn.ReLU(), last, nn.ReLU()]
        self.adaptor = nn.Sequential(*layers)

    @property
    def step_channels(self) -> int:
        """Number of scales and shifts of a step: twice the channels."""
        return 2 * self.channels

    def reduce(self, maxima: Tensor) -> Tensor:
        """Reduce maxima (batch, channels, blocks) to (batch, bottleneck, blocks)."""
        out: Tensor = self.conv(maxima)
        return out

    def adapt(self, sequence: Tensor) -> Tensor:
        """Expand the LSTM's output (batch, bottleneck, blocks) to scales and shifts (batch, 2 channels, blocks)."""
        out: Tensor = self.adaptor(sequence)
        return out


TTFILM = Conditioning(
    "does the same as tfilm through a bottleneck of 4 channels (tiny TFiLM)",
    modulation=lambda layer: TinyTFiLM(layer.channels, layer.condition_size, **block_arguments(layer)),
)
