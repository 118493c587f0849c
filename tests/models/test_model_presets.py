"""The presets equal the configurations that NablAFx 1.0 ships."""

from __future__ import annotations

import csv
from importlib.resources import files
from pathlib import Path

import pytest

from nablafx_core import build, load_experiment
from nablafx_core.errors import ModelError
from nablafx_core.registry import Registry
from nablafx_core.testing.tiny import TINY_DATA
from nablafx_models.preset_table import ALIASES, NABLAFX, OURS

pytestmark = pytest.mark.slow

with open(Path(__file__).parent / "presets.csv", encoding="utf-8") as table:
    SHIPPED = {row["name"]: row for row in csv.DictReader(table)}


def preset(name):
    return load_experiment(sections={"data": {"name": TINY_DATA}}, preset=name).config


def model_of(name, knobs):
    controls = [{"name": f"knob_{number}"} for number in range(knobs)]
    return build("model", preset(name)["model"], sample_rate=48000, controls=controls)


def test_the_pack_registers_every_preset_and_contains_its_file():
    named = {entry.component.name for entry in Registry.discover().entries("preset") if "models" in entry.pack.name}
    assert named == set(SHIPPED) | set(OURS) | set(ALIASES)
    assert set(NABLAFX) == set(SHIPPED)
    there = {item.name.removesuffix(".yaml") for item in (files("nablafx_models") / "presets").iterdir()}
    assert there == set(SHIPPED) | set(OURS)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_preset_equals_the_configuration_of_nablafx(name):
    row, config = SHIPPED[name], preset(name)
    if row["parameters"] == "cannot be built":
        with pytest.raises(ModelError, match=r"conditioning 'film'.*controls"):
            model_of(name, 0)
    else:
        model = model_of(name, int(row["controls"]))
        assert sum(parameter.numel() for parameter in model.parameters()) == int(row["parameters"])
        assert model.receptive_field == (int(row["receptive_field"]) if row["receptive_field"] else None)
    assert config["train"]["learning_rate"] == float(row["learning_rate"])
    assert config["train"]["tbptt"] == (
        int(row["tbptt_samples"]) if row["tbptt_samples"] else tbptt_of_whole_segments(name)
    )
    weights = {part["name"]: part["weight"] for part in config["loss"]}
    assert weights == {"nablafx-core/l1": float(row["l1_weight"]), "nablafx-core/mr_stft": float(row["mr_stft_weight"])}


def tbptt_of_whole_segments(name):
    """Return the setting for whole segments: null if the model has a default chunk length, else the default."""
    return None if "lstm" in name else "auto"


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_an_alias_loads_the_same_preset(alias, name):
    assert preset(alias) == preset(name)
