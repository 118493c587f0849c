"""Knobs and switches: their positions, and how a ``device.yaml`` describes them."""

from __future__ import annotations

import numpy as np
import pytest

from nablafx_core.controls import Control
from nablafx_core.errors import ModelError

KNOB = Control("tone", 20.0, 20000.0, "Hz", "log", default=1000.0)
SWITCH = Control("mode", positions=("off", "on", "5"), default="on")


def as_text(value):
    """Return a value as it is read from a file, with texts for numbers."""
    return value if isinstance(value, list) else str(value)


@pytest.mark.parametrize("control", [KNOB, SWITCH, Control("plain", 0.0, 10.0)], ids=lambda control: control.name)
def test_a_control_is_the_same_after_writing_and_reading(control):
    assert Control.from_yaml({key: as_text(value) for key, value in control.to_yaml().items()}) == control


def test_a_mapping_has_only_keys_of_its_variety():
    assert KNOB.to_yaml() == {
        "name": "tone", "minimum": 20.0, "maximum": 20000.0, "unit": "Hz", "taper": "log", "default": 1000.0
    }  # fmt: skip
    assert SWITCH.to_yaml() == {"name": "mode", "default": "on", "positions": ["off", "on", "5"]}
    assert Control.from_yaml({"name": "drive"}) == Control("drive", 0.0, 10.0)


@pytest.mark.parametrize(
    ("entry", "setting"),
    [
        ({"naem": "drive"}, "naem"),
        ({"curve": "log"}, "taper"),
        ({"positions": "on"}, "positions"),
        ({"positions": ["on", ["off"]]}, "positions"),
        ({"unit": ["Hz"]}, "unit"),
        ({"minimum": "low"}, "minimum"),
        ({"default": "loud"}, "default"),
        ({"positions": ["off", "on"], "maximum": "1"}, "maximum"),
        ({"positions": ["off", "on"], "default": "up"}, "up"),
    ],
)
def test_a_wrong_mapping_is_an_error_that_names_the_key(entry, setting):
    with pytest.raises(ModelError, match=setting):
        Control.from_yaml({"name": "drive", **entry})


@pytest.mark.parametrize("count", [2, 3, 8, 41, 200])
def test_positions_cover_the_range(count):
    assert KNOB.unit_positions(count) == np.linspace(0, 1, count).tolist()
    assert SWITCH.unit_positions(count) == [0.0, 0.5, 1.0]


def test_a_single_position_is_the_default():
    assert KNOB.unit_positions(1) == [KNOB.parse(1000)]
    assert SWITCH.unit_positions(1) == [0.5]


def test_positions_may_be_a_list():
    assert Control("mode", positions=["a", "b"]) == Control("mode", positions=("a", "b"))


def test_the_span_has_the_unit_or_the_positions():
    assert (KNOB.span, SWITCH.span, Control("level").span) == ("20 to 20000 Hz", "off | on | 5", "0 to 1")
