"""The conditionings by name, and how a model uses one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from nablafx_core.errors import ModelError
from nablafx_core.steps import Steps
from nablafx_models.conditioning.film import ControlMLP, FiLM
from nablafx_models.conditioning.interface import Condition, Conditioner, Modulation
from nablafx_models.conditioning.tfilm import TFiLM, TinyTFiLM
from nablafx_models.conditioning.tvfilm import AudioConditioner, TVFiLM

ConditioningName = Literal["none", "film", "tfilm", "ttfilm", "tvfilm", "concatenated", "tv_concatenated"]


@dataclass(frozen=True)
class BlockSettings:
    """What conditionings that work in blocks are told.

    Args:
        block_size: samples of a block.
        lookahead: a block's condition comes from the block itself, for which the model waits; otherwise from the one
            before, without latency.
        num_layers: of the recurrent layers.
    """

    block_size: int = 128
    lookahead: bool = True
    num_layers: int = 1

    def __post_init__(self) -> None:
        if self.block_size < 1 or self.num_layers < 1:
            raise ModelError(
                f"block_size {self.block_size} and cond_num_layers {self.num_layers} of a conditioning must be at "
                "least 1."
            )


@dataclass(frozen=True)
class Conditioning:
    """How the controls of a model reach its layers.

    Args:
        conditioner: makes the model's own part from the number of controls; without it the condition is the
            controls themselves.
        modulation: makes a layer's part from its channels, the condition's channels and the norm.
        size: channels of the condition; None for one per control.
        appended: the condition becomes input channels beside the audio.
        needs_controls: it makes no sense for a model without controls.
        norm: a setting ``norm: batch`` has a place in it.
    """

    conditioner: Callable[[int, BlockSettings], Conditioner] | None = None
    modulation: Callable[[int, int, str, BlockSettings], Modulation] | None = None
    size: int | None = None
    appended: bool = False
    needs_controls: bool = False
    norm: bool = False


def _audio_conditioner(size: int) -> Callable[[int, BlockSettings], Conditioner]:
    return lambda knobs, blocks: AudioConditioner(knobs, size, blocks.block_size, blocks.lookahead, blocks.num_layers)


CONDITIONINGS: dict[str, Conditioning] = {
    "none": Conditioning(norm=True),
    "film": Conditioning(
        lambda knobs, blocks: ControlMLP(knobs),
        lambda channels, size, norm, blocks: FiLM(channels, size, norm),
        size=ControlMLP.condition_size,
        needs_controls=True,
        norm=True,
    ),
    "tfilm": Conditioning(
        modulation=lambda channels, size, norm, blocks: TFiLM(
            channels, size, blocks.block_size, blocks.lookahead, blocks.num_layers
        )
    ),
    "ttfilm": Conditioning(
        modulation=lambda channels, size, norm, blocks: TinyTFiLM(
            channels, size, blocks.block_size, blocks.lookahead, blocks.num_layers
        )
    ),
    "tvfilm": Conditioning(
        _audio_conditioner(32), lambda channels, size, norm, blocks: TVFiLM(channels, size, blocks.block_size), 32
    ),
    "concatenated": Conditioning(appended=True, needs_controls=True, norm=True),
    "tv_concatenated": Conditioning(_audio_conditioner(16), size=16, appended=True, norm=True),
}


@dataclass(frozen=True)
class Conditioned:
    """A conditioning for one model: what its settings make of it.

    Args:
        chosen: the conditioning.
        num_controls: of the model.
        norm: ``"batch"`` or ``"none"``.
        blocks: for conditionings that work in blocks.
    """

    chosen: Conditioning
    num_controls: int
    norm: str
    blocks: BlockSettings

    def build_conditioner(self) -> Conditioner | None:
        """The part that a model keeps as ``cond_nn``."""
        make = self.chosen.conditioner
        return None if make is None else make(self.num_controls, self.blocks)

    def build_modulation(self, channels: int) -> Modulation | None:
        """The part that a layer of that many channels keeps as ``film``."""
        make = self.chosen.modulation
        return None if make is None else make(channels, self._size, self.norm, self.blocks)

    @property
    def extra_channels(self) -> int:
        """Input channels beside the audio."""
        return self._size if self.chosen.appended else 0

    @property
    def _size(self) -> int:
        return self.num_controls if self.chosen.size is None else self.chosen.size


def conditioned(
    model: str,
    name: str,
    num_controls: int,
    *,
    offered: tuple[str, ...],
    norm: str = "none",
    blocks: BlockSettings | None = None,
) -> Conditioned:
    """The conditioning that a model was asked for.

    Args:
        model: what messages call the model.
        name: of the conditioning.
        num_controls: of the model.
        offered: the names that the model's architecture offers.
        norm: batch normalisation, ``"batch"`` or ``"none"``.
        blocks: for conditionings that work in blocks.

    Raises:
        ModelError: if it is not offered, lacks the controls it needs, would ignore those there are, or has no place
            for a norm.
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
    if norm == "batch" and not chosen.norm:
        raise ModelError(f"{model}: conditioning '{name}' has no batch normalisation. Set `norm: none`.")
    return Conditioned(chosen, num_controls, norm, blocks or BlockSettings())


def over_time(condition: Tensor, time: int) -> Tensor:
    """A condition (batch, channels) or (batch, channels, time) as (batch, channels, time)."""
    return condition if condition.ndim == 3 else condition[..., None].expand(-1, -1, time)


def with_condition(audio: Tensor, condition: Condition) -> Tensor:
    """Audio (batch, channels, time) with the condition as channels after it."""
    if condition is None:
        return audio
    time = audio.shape[-1]
    held = condition.over(time) if isinstance(condition, Steps) else over_time(condition, time)
    return torch.cat((audio, held), dim=1)


def first_sample(controls: Tensor | None) -> Tensor | None:
    """Controls (batch, num_controls) at the start of a block."""
    return controls[..., 0] if controls is not None and controls.ndim == 3 else controls


def last_sample(controls: Tensor) -> Tensor:
    """Controls (batch, num_controls) at the end of a block."""
    return controls[..., -1] if controls.ndim == 3 else controls
