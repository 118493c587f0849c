"""Modulations that listen to the features of their own layer, block by block."""

from __future__ import annotations

from torch import Tensor, nn

from nablafx_core.errors import ModelError
from nablafx_core.nn.block_recurrence import BlockRecurrence
from nablafx_core.state import State
from nablafx_core.steps import BlockStep, Steps
from nablafx_models.conditioning.film import begin_at_identity
from nablafx_models.conditioning.interface import AffineModulation, Condition


class TFiLM(BlockRecurrence, AffineModulation):
    """y = g_b x + h_b in block b, [g_b, h_b] = LSTM(max over the block of x, controls) (Birnbaum et al., 2019).

    "Temporal FiLM", arXiv:1909.06628; for audio effects Comunità et al., 2022, arXiv:2211.00497.

    Args:
        channels: of the features.
        num_controls: appended to the maxima.
        block_size: samples of a block, counted from the start of the layer's own sequence.
        lookahead: modulate a block by its own maximum; otherwise by that of the block before.
        num_layers: of the LSTM.
    """

    steady = False

    def __init__(
        self, channels: int, num_controls: int, block_size: int = 128, lookahead: bool = True, num_layers: int = 1
    ) -> None:
        super().__init__(
            channels, num_controls, 2 * channels, num_layers=num_layers, block_size=block_size, lookahead=lookahead
        )

    @property
    def pooled(self) -> int:  # type: ignore[override]
        """Its own blocks."""
        return self.block_size

    def lead(self, state: State) -> int:
        """Without look-ahead, what there is of the unfinished block."""
        return 0 if self.lookahead else state["block"].shape[-1]

    def affine(
        self,
        features: Tensor,
        condition: Condition,
        state: State,
        final: bool = False,
        *,
        whole: bool = False,
        maxima: Tensor | None = None,
    ) -> BlockStep:
        """One step per block; the condition is the controls, for the new features."""
        if isinstance(condition, Steps):
            raise ModelError("tfilm reads the controls themselves.")
        return self.advance(features, condition, state, final, whole=whole, maxima=maxima)


class TinyTFiLM(TFiLM):
    """TFiLM whose LSTM is as narrow as `bottleneck`: the maxima are mixed down to it, and its output is spread again.

    [g_b, h_b] = ReLU(W3 ReLU(W2 ReLU(W1 LSTM(W0 m_b, controls)))), 4 to 16 to 32 to twice the channels. (Comunità et
    al., NablAFx, 2025, arXiv:2502.11668.)

    Args:
        channels: of the features.
        num_controls: appended to the maxima.
        block_size: samples of a block, counted from the start of the layer's own sequence.
        lookahead: modulate a block by its own maximum; otherwise by that of the block before.
        num_layers: of the LSTM.
        bottleneck: channels of the LSTM.
    """

    def __init__(
        self,
        channels: int,
        num_controls: int,
        block_size: int = 128,
        lookahead: bool = True,
        num_layers: int = 1,
        bottleneck: int = 4,
    ) -> None:
        BlockRecurrence.__init__(
            self,
            channels,
            num_controls,
            bottleneck,
            reduced=bottleneck,
            num_layers=num_layers,
            block_size=block_size,
            lookahead=lookahead,
        )
        self.conv = nn.Conv1d(channels, bottleneck, 1)
        last = nn.Conv1d(32, 2 * channels, 1)
        begin_at_identity(last)
        layers = [nn.Conv1d(bottleneck, 16, 1), nn.ReLU(), nn.Conv1d(16, 32, 1), nn.ReLU(), last, nn.ReLU()]
        self.adaptor = nn.Sequential(*layers)

    @property
    def step_channels(self) -> int:
        """Scales and shifts."""
        return 2 * self.channels

    def reduce(self, maxima: Tensor) -> Tensor:
        """Mixed down to the bottleneck."""
        out: Tensor = self.conv(maxima)
        return out

    def adapt(self, sequence: Tensor) -> Tensor:
        """Spread to scales and shifts."""
        out: Tensor = self.adaptor(sequence)
        return out
