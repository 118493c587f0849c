"""The presets are the paper's configurations."""

from __future__ import annotations

from importlib.resources import files

import pytest
import yaml

from nablafx_core.controls import Control
from nablafx_models import plugin
from nablafx_models.lstm import LSTM
from nablafx_models.tcn import TCN

PAPER = {  # parameters, receptive field, learning rate, tbptt, knobs
    "tcn-45-s": (7457, 2047, 0.005, None, 0),
    "tcn-45-l": (7297, 2047, 0.005, None, 0),
    "tcn-250-s": (14465, 13651, 0.005, None, 0),
    "tcn-250-l": (18401, 12283, 0.005, None, 0),
    "tcn-2500-s": (13697, 133333, 0.005, None, 0),
    "tcn-2500-l": (11937, 118097, 0.005, None, 0),
    "tcn-f-45-s": (14913, 2047, 0.005, None, 1),
    "tcn-f-45-l": (20033, 2047, 0.005, None, 1),
    "lstm-32": (4513, None, 0.001, 4800, 0),
    "lstm-96": (38113, None, 0.001, 4800, 0),
    "lstm-fixed-32": (4641, None, 0.001, 4800, 1),
    "lstm-fixed-96": (38497, None, 0.001, 4800, 1),
}


def test_the_pack_names_a_preset_for_each():
    targets = {component.name: component.target for component in plugin.nablafx_presets()}
    assert targets == {name: f"nablafx_models:presets/{name}.yaml" for name in (*PAPER, "capture-lstm", "capture-tcn")}


@pytest.mark.parametrize("name", PAPER)
def test_a_preset_is_the_papers(name):
    parameters, receptive_field, learning_rate, tbptt, knobs = PAPER[name]
    preset = yaml.safe_load((files("nablafx_models") / "presets" / f"{name}.yaml").read_text(encoding="utf-8"))
    arguments = preset["model"]
    model_class = {"tcn": TCN, "lstm": LSTM}[arguments.pop("name")]
    model = model_class(**arguments, controls=[Control("drive")] * knobs)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert model.receptive_field == receptive_field
    assert preset["train"]["learning_rate"] == learning_rate
    assert preset["train"].get("tbptt") == tbptt
    assert preset["loss"] == [{"name": "l1", "weight": 0.5}, {"name": "mr_stft", "weight": 0.5}]
