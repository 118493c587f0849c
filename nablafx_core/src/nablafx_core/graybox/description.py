"""What a gray-box chain has learned, in physical units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nablafx_core.errors import ModelError
from nablafx_core.graybox.model import GrayBox
from nablafx_core.graybox.naming import labelled_stages, title_of
from nablafx_core.graybox.observing import StageRange


@dataclass(frozen=True)
class ParameterValue:
    """One parameter of one processor of a chain.

    Args:
        index: of the item in the chain.
        processor: its class.
        controller: the class of what drives it; None for a fixed parameter.
        parameter: its name.
        value: in physical units; None where it follows the audio.
        unit: such as ``"dB"``; empty for a plain number.
        place: the index and, in branches, after slashes the branch and the index in it, such as ``"2/0/1"``.
        stage: as people call it, such as ``"1 low shelf (static)"``.
    """

    index: int
    processor: str
    controller: str | None
    parameter: str
    value: float | None
    unit: str
    place: str
    stage: str


def describe(model: GrayBox, controls: Tensor | None = None) -> list[ParameterValue]:
    """The parameters of a chain at one setting of the knobs, in the chain's order.

    Args:
        model: the chain.
        controls: (num_controls,) in [0, 1]; the knobs' defaults if None.

    Raises:
        ModelError: if there are not as many controls as knobs.
    """
    if controls is not None and controls.shape != (len(model.controls),):
        raise ModelError(f"describe takes controls of shape ({len(model.controls)},), not {tuple(controls.shape)}.")
    like = next(model.parameters(), torch.zeros(()))
    silence = like.new_zeros(1, 1, 1)
    knobs = model.checked_controls(
        silence.expand(1, model.in_channels, 1), None if controls is None else controls[None]
    )
    found = []
    for node in model.nodes:
        stage = node.stage
        with torch.no_grad():
            unit, _ = stage.controller(silence, knobs)
            values = stage.values(unit)
        for parameter in stage.processor.effect_parameters:
            fixed, value = parameter.name in stage.fixed, values[parameter.name]
            known = fixed or (isinstance(value, Tensor) and value.ndim == 1)
            found.append(
                ParameterValue(
                    int(node.place.split("/")[0]),
                    type(stage.processor).__name__,
                    None if fixed else type(stage.controller).__name__,
                    parameter.name,
                    float(value) if known else None,
                    parameter.unit,
                    node.place,
                    title_of(node.place, stage),
                )
            )
    return found


def ranges_as_rows(model: GrayBox, seen: Mapping[str, StageRange]) -> list[dict[str, Any]]:
    """What every stage was given, as plain data: ``stage``, ``input`` and ``parameters``, by name least and greatest.

    A range is None where a value was not finite.

    Args:
        model: the chain.
        seen: of `observed_ranges`.
    """

    def plain(ends: tuple[float, float] | None) -> list[float] | None:
        return None if ends is None else list(ends)

    return [
        {
            "stage": title_of(place, stage),
            "input": plain(seen[place].audio.ends()),
            "parameters": {name: plain(one.ends()) for name, one in seen[place].parameters.items()},
        }
        for place, stage in labelled_stages(model)
    ]
