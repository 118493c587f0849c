"""The conditionings by name, and how a model uses one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nablafx_core.errors import ModelError
from nablafx_models.conditioning.film import ControlMLP, FiLM
from nablafx_models.conditioning.interface import Conditioner, Modulation


@dataclass(frozen=True)
class Conditioning:
    """How the controls of a model reach its layers.

    Args:
        conditioner: makes the model's own part from the number of controls; without it the condition is the
            controls themselves.
        modulation: makes a layer's part from its channels, the condition's channels and the norm.
        appended: the condition becomes input channels beside the audio.
        needs_controls: it makes no sense for a model without controls.
    """

    conditioner: type[Conditioner] | None = None
    modulation: type[Modulation] | None = None
    appended: bool = False
    needs_controls: bool = True

    def build_conditioner(self, num_controls: int) -> Conditioner | None:
        """The part that a model keeps as ``cond_nn``."""
        return None if self.conditioner is None else self.conditioner(num_controls)

    def build_modulation(self, channels: int, num_controls: int, norm: str) -> Modulation | None:
        """The part that a layer of that many channels keeps as ``film``."""
        return None if self.modulation is None else self.modulation(channels, self._size(num_controls), norm)

    def extra_channels(self, num_controls: int) -> int:
        """Input channels beside the audio."""
        return self._size(num_controls) if self.appended else 0

    def _size(self, num_controls: int) -> int:
        return num_controls if self.conditioner is None else self.conditioner.condition_size


CONDITIONINGS: dict[str, Conditioning] = {
    "none": Conditioning(needs_controls=False),
    "concatenated": Conditioning(appended=True),
    "film": Conditioning(ControlMLP, FiLM),
}


def conditioning_named(name: str, num_controls: int, model: str, offered: tuple[str, ...]) -> Conditioning:
    """The conditioning that a model was asked for.

    Args:
        name: its name.
        num_controls: of the model.
        model: what the message calls the model.
        offered: the names that the model's architecture offers.

    Raises:
        ModelError: if it is not offered, lacks the controls it needs, or would ignore those there are.
    """
    if name not in offered:
        raise ModelError(f"{model} has no conditioning '{name}'. Conditionings: {', '.join(offered)}.")
    chosen = CONDITIONINGS[name]
    if chosen.needs_controls and num_controls == 0:
        raise ModelError(
            f"{model}: conditioning '{name}' needs controls, and there are none. Use data with controls, "
            "give the model `controls`, or set `conditioning: none`."
        )
    if name == "none" and num_controls > 0:
        others = ", ".join(other for other in offered if other != "none")
        raise ModelError(
            f"{model}: conditioning 'none' would ignore the {num_controls} controls of the data. "
            f"Choose one of: {others}; or set `controls: []`."
        )
    return chosen


def over_time(condition: Tensor, time: int) -> Tensor:
    """A condition (batch, channels) or (batch, channels, time) as (batch, channels, time)."""
    return condition if condition.ndim == 3 else condition[..., None].expand(-1, -1, time)


def with_condition(audio: Tensor, condition: Tensor | None) -> Tensor:
    """Audio (batch, channels, time) with the condition as channels after it."""
    return audio if condition is None else torch.cat((audio, over_time(condition, audio.shape[-1])), dim=1)


def first_sample(controls: Tensor | None) -> Tensor | None:
    """Controls (batch, num_controls) at the start of a block."""
    return controls[..., 0] if controls is not None and controls.ndim == 3 else controls


def last_sample(controls: Tensor) -> Tensor:
    """Controls (batch, num_controls) at the end of a block."""
    return controls[..., -1] if controls.ndim == 3 else controls
