"""Titles of the stages of a chain, and quantities with their units, for people to read."""

from __future__ import annotations

import re
from collections.abc import Sequence

from nablafx_core.controls import Control, Parameter
from nablafx_core.graybox.gray_box import GrayBox
from nablafx_core.graybox.stage import Stage

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z][a-z]*|[a-z]+|\d+")  # an abbreviation is one word


def labelled_stages(model: GrayBox) -> list[tuple[str, Stage]]:
    """Return place and stage of every node, in the order in which they run; see `nablafx_core.graybox.order.Node`."""
    return [(node.place, node.stage) for node in model.nodes]


def title_of(place: str, stage: Stage) -> str:
    """Return the title of a stage, such as ``"1 low shelf (static)"``; in a branch, its number is like ``"3.1.2"``."""
    place = ".".join(str(int(number) + 1) for number in place.split("/"))
    name = stage.processor.title or in_words(type(stage.processor).__name__)
    if not stage.processor.effect_parameters:
        return f"{place} {name}"
    return f"{place} {name} ({in_words(type(stage.controller).__name__) if stage.driven else 'fixed'})"


def in_words(name: str) -> str:
    """Return a class's name in words: ``"static FIR"`` for ``"StaticFIR"``."""
    return " ".join(word if word.isupper() and len(word) > 1 else word.lower() for word in _WORDS.findall(name))


def called(parameter: Parameter) -> str:
    """Return a parameter's name without its unit: ``"cutoff"`` for ``"cutoff_hz"``."""
    unit = f"_{parameter.unit.lower()}" if parameter.unit else ""
    return parameter.name.removesuffix(unit).replace("_", " ")


def quantity(value: float, unit: str = "") -> str:
    """Format a value with its unit, to four digits: ``"812.5 Hz"``."""
    number = f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"
    return f"{number} {unit}".rstrip().replace("-", "\N{MINUS SIGN}", 1 if number.startswith("-") else 0)


def setting_in_words(controls: Sequence[Control], values: Sequence[float]) -> str:
    """Format a setting of the knobs, each in its unit: ``"drive 12 dB, mode bright"``.

    Args:
        controls: knobs of the device.
        values: positions in [0, 1], one per knob.
    """
    return ", ".join(f"{knob.name} {_position(knob, value)}" for knob, value in zip(controls, values, strict=True))


def _position(knob: Control, value: float) -> str:
    written = knob.written(value)
    return written if isinstance(written, str) else quantity(written, knob.unit)
