"""Titles of the stages of a chain, and quantities with their units, for people to read."""

from __future__ import annotations

import re
from collections.abc import Sequence

from nablafx_core.controls import Control, Parameter
from nablafx_core.graybox.gray_box import GrayBox
from nablafx_core.graybox.stage import Stage

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z][a-z]*|[a-z]+|\d+")  # an abbreviation is one word


def labelled_stages(model: GrayBox) -> list[tuple[str, Stage]]:
    """Return place and stage of every node, in the order in which they run.

    A place is the index of the item in the chain, such as ``"2"``; in branches and side-chains, the branch (0 in a
    side-chain) and the index in it follow, such as ``"2/0/1"``.
    """
    return [(node.place, node.stage) for node in model.nodes]


def title_of(place: str, stage: Stage) -> str:
    """Return the title of a stage, such as ``"1 low shelf (static)"``.

    It has the stage's number, counted from 1 (in a branch like ``"3.1.2"``), the name of the processor, and the
    controller's class in words, or "fixed" if no parameter is driven. A processor without parameters has only number
    and name.

    Args:
        place: place of the stage, as in `labelled_stages`.
        stage: stage to name.
    """
    place = ".".join(str(int(number) + 1) for number in place.split("/"))
    name = stage.processor.title or in_words(type(stage.processor).__name__)
    if not stage.processor.effect_parameters:
        return f"{place} {name}"
    return f"{place} {name} ({in_words(type(stage.controller).__name__) if stage.driven else 'fixed'})"


def in_words(name: str) -> str:
    """Return a class's name in words: ``"static FIR"`` for ``"StaticFIR"``."""
    return " ".join(word if word.isupper() and len(word) > 1 else word.lower() for word in _WORDS.findall(name))


def called(parameter: Parameter) -> str:
    """Return a parameter's name in words and without its unit: ``"make up gain"`` for ``"make_up_gain_db"``."""
    unit = f"_{parameter.unit.lower()}" if parameter.unit else ""
    return parameter.name.removesuffix(unit).replace("_", " ")


def quantity(value: float, unit: str = "") -> str:
    """Format a value with its unit: to four digits, ``"812.5 Hz"``, but at least to whole numbers, ``"12,346 Hz"``."""
    number = f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"
    return f"{number} {unit}".rstrip().replace("-", "\N{MINUS SIGN}", 1 if number.startswith("-") else 0)


def setting_in_words(controls: Sequence[Control], values: Sequence[float]) -> str:
    """Format a setting of the knobs, each in its unit or with the name of its position: ``"drive 12 dB, mode bright"``.

    Args:
        controls: knobs of the device.
        values: positions in [0, 1], one per knob.
    """
    return ", ".join(f"{knob.name} {_position(knob, value)}" for knob, value in zip(controls, values, strict=True))


def _position(knob: Control, value: float) -> str:
    written = knob.written(value)
    return written if isinstance(written, str) else quantity(written, knob.unit)
