"""The conditioning of one model: checked against its controls and settings, and built."""

from __future__ import annotations

from dataclasses import dataclass

from nablafx_core.errors import ModelError
from nablafx_models.conditioning.interface import (
    BlockSettings,
    Conditioner,
    Conditioning,
    LayerSettings,
    Modulation,
)
from nablafx_models.conditioning.table import APPENDED, CONDITIONINGS


@dataclass(frozen=True)
class ModelConditioning:
    """A conditioning with the settings of one model.

    Args:
        model: name of the model in messages.
        name: name of the conditioning.
        chosen: the conditioning.
        num_controls: number of controls of the model.
        blocks: settings for conditionings that work in blocks.
    """

    model: str
    name: str
    chosen: Conditioning
    num_controls: int
    blocks: BlockSettings

    def build_conditioner(self) -> Conditioner | None:
        """Build the Conditioner, which a model keeps as ``cond_nn``; None if the condition is the controls."""
        build = self.chosen.conditioner
        return None if build is None else build(self.num_controls, self.blocks)

    def build_modulation(self, channels: int, norm: str = "none") -> Modulation | None:
        """Build the Modulation, which a layer keeps as ``film``; None if the conditioning does not modulate layers.

        Args:
            channels: channels of the layer's features.
            norm: batch normalisation before the modulation, ``"batch"`` or ``"none"``.

        Raises:
            ModelError: if the norm is ``"batch"`` and the conditioning cannot be combined with it.
        """
        if norm == "batch" and not self.chosen.allows_norm:
            raise ModelError(
                f"{self.model}: conditioning '{self.name}' cannot be combined with batch normalisation. "
                "Set `norm: none`."
            )
        build = self.chosen.modulation
        return None if build is None else build(LayerSettings(channels, self._condition_size, norm, self.blocks))

    @property
    def extra_channels(self) -> int:
        """Number of channels that the condition adds to the input of the model; 0 if it is not appended."""
        return self._condition_size if self.chosen.appended else 0

    @property
    def _condition_size(self) -> int:
        return self.num_controls if self.chosen.condition_size is None else self.chosen.condition_size


def select_conditioning(
    model: str, name: str, num_controls: int, blocks: BlockSettings, *, modulates: bool
) -> ModelConditioning:
    """Return the conditioning of a model.

    Args:
        model: name of the model in messages.
        name: name of the conditioning.
        num_controls: number of controls of the model.
        blocks: settings for conditionings that work in blocks.
        modulates: True if layers of the model can be modulated; otherwise only the names in `APPENDED` are offered.

    Raises:
        ModelError: if the model does not offer the conditioning, if the conditioning needs controls and there are none,
            or if the conditioning is ``none`` and there are controls.
    """
    offered = tuple(CONDITIONINGS) if modulates else APPENDED
    if name not in offered:
        raise ModelError(f"{model} has no conditioning '{name}'. Available: {', '.join(offered)}.")
    chosen = CONDITIONINGS[name]
    if chosen.needs_controls and num_controls == 0:
        raise ModelError(
            f"{model}: conditioning '{name}' needs controls, and there are none. Use data with controls, "
            "give the model `controls`, or set `conditioning: none`."
        )
    if name == "none" and num_controls > 0:
        others = ", ".join(other for other in offered if other != "none")
        raise ModelError(
            f"{model}: conditioning 'none' would ignore the model's {num_controls} controls. "
            f"Set `conditioning` to one of: {others}; or set `controls: []`."
        )
    return ModelConditioning(model, name, chosen, num_controls, blocks)
