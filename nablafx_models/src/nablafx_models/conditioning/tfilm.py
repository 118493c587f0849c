"""Temporal FiLM: a modulation that follows the features of its own layer, block by block."""

from __future__ import annotations

from typing import Any

from nablafx_core.errors import ModelError
from nablafx_core.nn.block_recurrence import BlockRecurrence
from nablafx_core.state import State
from nablafx_core.steps import BlockStep, Steps
from nablafx_models.conditioning.interface import AffineModulation, Conditioning, LayerInput, LayerSettings


class TFiLM(BlockRecurrence, AffineModulation):
    """y = g_b x + h_b in block b, [g_b, h_b] = LSTM(m_b, controls at the block's first sample) (Birnbaum et al., 2019).

    "Temporal FiLM", arXiv:1909.06628; for audio effects Comunità et al., 2022, arXiv:2211.00497. With look-ahead, m_b
    is the maximum of x per channel over block b, and a block is held back until it is complete. Without it, m_b is the
    maximum over the block before (0 for the first block). Blocks are counted from the first feature of the layer.

    Args:
        channels: channels of the features.
        num_controls: number of controls, appended to the maxima; 0 for none.
        hidden_size: hidden size of the LSTM; twice the channels if None. A subclass that passes another size overrides
            `adapt` and `step_channels`.
        recurrence: `block_size`, `lookahead`, `num_layers` and `reduced` of `BlockRecurrence`.
    """

    steady = False

    def __init__(self, channels: int, num_controls: int, hidden_size: int | None = None, **recurrence: Any) -> None:
        super().__init__(channels, num_controls, 2 * channels if hidden_size is None else hidden_size, **recurrence)

    @property
    def pooled(self) -> int:  # type: ignore[override]
        """Number of samples in the blocks whose maxima `scale_and_shift` can use."""
        return self.block_size

    def lead(self, state: State) -> int:
        """Return the number of samples of the unfinished block; 0 with look-ahead, because then they are held back."""
        return 0 if self.lookahead else state["block"].shape[-1]

    def scale_and_shift(self, given: LayerInput) -> BlockStep:
        """Return the features that can be used, with one step per block, and the next state.

        The condition is the controls for the new features, or None without controls.

        Raises:
            ModelError: if the condition is steps.
        """
        if isinstance(given.condition, Steps):
            raise ModelError(f"{type(self).__name__}: expected the controls as the condition, got steps.")
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
