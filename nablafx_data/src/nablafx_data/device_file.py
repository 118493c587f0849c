"""``device.yaml``: the knobs that the letters in a ToneTwist device's file names stand for.

::

    knobs:
      D: {name: drive, unit: dB, minimum: 0, maximum: 40, taper: linear, default: 20}
      T: {name: tone}                                   # 0 to 10, linear
      M: {name: mode, positions: [normal, bright]}      # a switch: M000, M100
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from nablafx_core.controls import Control
from nablafx_core.errors import ConfigError, DataError, ModelError
from nablafx_core.files import replacing
from nablafx_core.yaml import plain_yaml

#: Format of a setting, for messages.
SETTING = "A setting is a letter and three digits for each knob, 000 to 100, such as D050_T100."

_TOKEN = re.compile(r"([A-Za-z]+)(\d{3})")


def parse_setting(token: str) -> dict[str, float] | None:
    """Return knob positions in [0, 1] by letter: ``"D050_T100"`` is ``{"D": 0.5, "T": 1.0}``; None for another text.

    A word may stand for a letter (``Tone050``). The second knob with the letter T is called ``T2``.

    Raises:
        DataError: if a number is above 100.
    """
    knobs: dict[str, float] = {}
    for part in token.split("_"):
        match = _TOKEN.fullmatch(part)
        if not match:
            return None
        if int(match[2]) > 100:
            raise DataError(f"{token}: {part} is outside 000 to 100, the positions of a knob. Rename the file.")
        letter, number = match[1], 2
        while letter in knobs:
            letter, number = f"{match[1]}{number}", number + 1
        knobs[letter] = int(match[2]) / 100
    return knobs


def format_setting(knobs: dict[str, float]) -> str:
    """Return the text of knob positions in [0, 1], rounded to hundredths; the inverse of `parse_setting`."""
    return "_".join(f"{letter.rstrip('0123456789')}{round(100 * value):03d}" for letter, value in knobs.items())


def default_knobs(letters: Sequence[str]) -> dict[str, Control]:
    """Return linear knobs from 0 to 10 that are named by their letters, by letter."""
    return {letter: Control(letter, 0.0, 10.0) for letter in letters}


def read_knobs(path: Path) -> dict[str, Control]:
    """Read the knobs of a ``device.yaml`` by letter, in the order of the file.

    A missing name is the letter, and a missing range 0 to 10.

    Raises:
        DataError: if the file cannot be read or does not have the format of this module's example, if a knob's values
            are invalid, or if two knobs have the same name.
    """
    try:
        # Read all values as text, because YAML reads the positions on and off as booleans.
        content = plain_yaml(path.read_bytes(), str(path), "a device file", as_text=True)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from error
    except ConfigError as error:
        raise DataError(str(error)) from error
    knobs = content.get("knobs") if isinstance(content, dict) else None
    if not isinstance(knobs, dict):
        raise DataError(f"{path}: requires 'knobs:' with an entry per letter, such as D: {{name: drive}}.")
    controls = {str(letter): _control(path, str(letter), knob or {}) for letter, knob in knobs.items()}
    names = [control.name for control in controls.values()]
    if len(set(names)) < len(names):
        raise DataError(f"{path}: two knobs have the same name. Names: {', '.join(names)}. Rename one.")
    return controls


def _control(path: Path, letter: str, knob: Any) -> Control:
    if not isinstance(knob, dict):
        raise DataError(f"{path}: knobs.{letter}: expected a mapping such as {{name: drive}}, got {knob!s:.80}.")
    try:
        return Control.from_yaml({"name": letter, **knob})
    except ModelError as error:
        raise DataError(f"{path}: knobs.{letter}: {error}") from error


def write_knobs(path: str | os.PathLike[str], knobs: dict[str, Control]) -> None:
    """Write a ``device.yaml`` that `read_knobs` can read; never overwrite a file.

    Raises:
        DataError: if the file exists or cannot be written.
    """
    path = Path(path)
    if path.exists():
        raise DataError(f"{path}: already exists. Delete it first, or edit it.")
    content = {letter: control.to_yaml() for letter, control in knobs.items()}
    try:
        with replacing(path) as temporary:
            temporary.write_text(yaml.safe_dump({"knobs": content}, sort_keys=False), encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}.") from error
