"""What people call the stages of a chain, and how they write its quantities."""

from __future__ import annotations

import re
from collections.abc import Sequence

from nablafx_core.controls import Control, Parameter
from nablafx_core.graybox.gray_box import GrayBox
from nablafx_core.graybox.stage import Stage

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z][a-z]*|[a-z]+|\d+")  # an abbreviation stays as it is


def labelled_stages(model: GrayBox) -> list[tuple[str, Stage]]:
    """Every stage in the order in which they run, with its place; see `nablafx_core.graybox.order.Node`."""
    return [(node.place, node.stage) for node in model.nodes]


def title_of(place: str, stage: Stage) -> str:
    """A stage as people call it, such as ``"1 low shelf (static)"``: they count from 1, in branches ``"3.1.2"``."""
    place = ".".join(str(int(number) + 1) for number in place.split("/"))
    name = stage.processor.title or in_words(type(stage.processor).__name__)
    if not stage.processor.effect_parameters:
        return f"{place} {name}"
    return f"{place} {name} ({in_words(type(stage.controller).__name__) if stage.driven else 'fixed'})"


def in_words(name: str) -> str:
    """A class's name in words: ``"StaticFIR"`` is ``"static FIR"``."""
    return " ".join(word if word.isupper() and len(word) > 1 else word.lower() for word in _WORDS.findall(name))


def called(parameter: Parameter) -> str:
    """A parameter's name without its unit: ``"cutoff_hz"`` is ``"cutoff"``."""
    unit = f"_{parameter.unit.lower()}" if parameter.unit else ""
    return parameter.name.removesuffix(unit).replace("_", " ")


def quantity(value: float, unit: str = "") -> str:
    """A value with its unit, to four digits: ``"812.5 Hz"``."""
    number = f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"
    return f"{number} {unit}".rstrip().replace("-", "\N{MINUS SIGN}", 1 if number.startswith("-") else 0)


def setting_in_words(controls: Sequence[Control], values: Sequence[float]) -> str:
    """A setting of the knobs, each in its unit: ``"drive 12 dB, mode bright"``.

    Args:
        controls: the knobs.
        values: in [0, 1], one per knob.
    """
    return ", ".join(f"{knob.name} {_position(knob, value)}" for knob, value in zip(controls, values, strict=True))


def _position(knob: Control, value: float) -> str:
    written = knob.written(value)
    return written if isinstance(written, str) else quantity(written, knob.unit)
