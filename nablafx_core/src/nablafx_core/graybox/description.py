"""Describe what a gray-box chain has learned, in physical units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nablafx_core.errors import ModelError
from nablafx_core.graybox.gray_box import GrayBox
from nablafx_core.graybox.naming import labelled_stages, title_of
from nablafx_core.graybox.observing import StageRange


@dataclass(frozen=True)
class ParameterValue:
    """Value of one parameter of one processor in a chain.

    Args:
        index: index of the item in the chain.
        processor: name of the processor's class.
        controller: name of the controller's class; None for a fixed parameter.
        parameter: name of the parameter.
        value: value in physical units; None if the controller outputs one value per sample or block.
        unit: unit such as ``"dB"``; empty for a plain number.
        place: place of the processor: the index and, in branches, the branch and the index in it, such as ``"2/0/1"``.
        stage: title of the stage, such as ``"1 low shelf (static)"``.
        at_end: ``"lowest"`` or ``"highest"`` if a controller drives the parameter and its value is within 1 % of the
            range from that end, else empty.
    """

    index: int
    processor: str
    controller: str | None
    parameter: str
    value: float | None
    unit: str
    place: str
    stage: str
    at_end: str = ""


def describe(model: GrayBox, controls: Tensor | None = None) -> list[ParameterValue]:
    """Return the parameters of a chain at one setting of the knobs, in the order in which its stages run.

    Args:
        model: chain to describe.
        controls: positions of the knobs in [0, 1], (num_controls,); the defaults if None.

    Raises:
        ModelError: if `controls` does not have this shape.
    """
    if controls is not None and controls.shape != (len(model.controls),):
        raise ModelError(f"describe: expected controls of shape ({len(model.controls)},), got {tuple(controls.shape)}.")
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
                    stage.at_end(parameter.name, float(value), float(value)) if known else "",
                )
            )
    return found


def ranges_as_rows(model: GrayBox, seen: Mapping[str, StageRange]) -> list[dict[str, Any]]:
    """Return the ranges of every stage as plain data: ``stage``, ``input``, and ``parameters`` by name.

    ``stage`` is the title, ``input`` the range of the audio before the processor. A range is None if a value was NaN or
    infinite, or nothing was observed. If driven parameters of a stage were always at an end of their range, its row has
    ``at_end`` with ``"lowest"`` or ``"highest"`` by the name of the parameter.

    Args:
        model: chain that was observed.
        seen: ranges from `observed_ranges`, by place.
    """
    rows = []
    for place, stage in labelled_stages(model):
        ends = {name: one.ends() for name, one in seen[place].parameters.items()}
        at_end = {name: stage.at_end(name, *pair) for name, pair in ends.items() if pair is not None}
        at_end = {name: end for name, end in at_end.items() if end}
        audio = seen[place].audio.ends()
        rows.append(
            {
                "stage": title_of(place, stage),
                "input": None if audio is None else list(audio),
                "parameters": {name: None if pair is None else list(pair) for name, pair in ends.items()},
            }
            | ({"at_end": at_end} if at_end else {})
        )
    return rows


def end_warning(named: Sequence[str]) -> str:
    """Format a warning about learned parameters at an end of their range.

    Args:
        named: stage, parameter and end of each, such as ``"2 compressor (static): attack_ms, the highest"``.
    """
    return (
        f"Learned parameters at an end of their range: {'; '.join(named)}. The device may go beyond it: widen the "
        "range in the processor's settings, unless this value is expected."
    )
