"""Temporal FiLM: a modulation that follows the features of its own layer, block by block."""

from __future__ import annotations

from typing import Any

from nablafx_core.errors import ModelError
from nablafx_core.nn.block_recurrence import BlockRecurrence
from nablafx_core.state import State
from nablafx_core.steps import BlockStep, Steps
from nablafx_models.conditioning.interface import AffineModulation, Conditioning, LayerInput, LayerSettings


class TFiLM(BlockRecurrence, AffineModulation):
    """y = g_b x + h_b in block b, [g_b, h_b] = LSTM(max over the block of x, controls) (Birnbaum et al., 2019).

    "Temporal FiLM", arXiv:1909.06628; for audio effects Comunità et al., 2022, arXiv:2211.00497. Blocks are counted
    from the first feature of the layer.

    Args:
        channels: channels of the features.
        num_controls: number of controls, appended to the maxima.
        hidden_size: hidden size of the LSTM; twice the channels if None.
        recurrence: `block_size`, `lookahead`, `num_layers` and `reduced` of `BlockRecurrence`.
    """

    steady = False

    def __init__(self, channels: int, num_controls: int, hidden_size: int | None = None, **recurrence: Any) -> None:
        super().__init__(channels, num_controls, 2 * channels if hidden_size is None else hidden_size, **recurrence)

    @property
    def pooled(self) -> int:  # type: ignore[override]
        """Samples of the blocks whose maxima `scale_and_shift` uses."""
        return self.block_size

    def lead(self, state: State) -> int:
        """Return the samples of the unfinished block; 0 with look-ahead, because then they are held back."""
        return 0 if self.lookahead else state["block"].shape[-1]

    def scale_and_shift(self, given: LayerInput) -> BlockStep:
        """Return one step per block; the condition is the controls for the new features."""
        if isinstance(given.condition, Steps):
            raise ModelError(f"{type(self).__name__} takes the controls as its condition, not steps.")
        return self.advance(
            given.features, given.condition, given.state, given.final, whole=given.whole, maxima=given.maxima
        )


def block_arguments(layer: LayerSettings) -> dict[str, Any]:
    """Return the settings of a layer as arguments of `BlockRecurrence`."""
    blocks = layer.blocks
    return {"block_size": blocks.block_size, "lookahead": blocks.lookahead, "num_layers": blocks.num_layers}


TFILM = Conditioning(
    "scales and shifts every layer by an LSTM of the controls and of the layer's own maxima in blocks of samples",
    modulation=lambda layer: TFiLM(layer.channels, layer.condition_size, **block_arguments(layer)),
)
