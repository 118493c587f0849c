"""The gray-box presets are the configurations of NablAFx 1.0; each trains and streams."""

from __future__ import annotations

import csv
import json
from importlib.resources import files
from pathlib import Path

import pytest
import torch

from nablafx_core import build, load_experiment
from nablafx_core.names import short_name
from nablafx_core.registry import Registry
from nablafx_core.testing.tiny import TINY_DATA
from nablafx_dsp.nablafx01 import sections_of
from nablafx_dsp.preset_table import ALIASES, NABLAFX, OURS, summary

pytestmark = pytest.mark.slow

with open(Path(__file__).parent / "presets.csv", encoding="utf-8") as table:
    SHIPPED = {row["name"]: row for row in csv.DictReader(table)}


def preset(name):
    return load_experiment(sections={"data": {"name": TINY_DATA}}, preset=name).config


def chain(section, row):
    controls = [{"name": f"knob_{number}"} for number in range(int(row["controls"]))]
    return build("model", section, sample_rate=48000, controls=controls)


def test_the_pack_lists_each_preset_and_contains_its_file():
    named = {entry.component.name for entry in Registry.discover().entries("preset") if "dsp" in entry.pack.name}
    assert named == set(SHIPPED) | set(ALIASES) | set(OURS)
    assert set(NABLAFX) == set(SHIPPED)
    there = {item.name.removesuffix(".yaml") for item in (files("nablafx_dsp") / "presets").iterdir()}
    assert there == set(SHIPPED) | set(OURS)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_preset_is_the_configuration_of_nablafx(name):
    row, config = SHIPPED[name], preset(name)
    model = chain(config["model"], row)
    assert sum(parameter.numel() for parameter in model.parameters()) == int(row["parameters"])
    arguments = json.loads(row["arguments"])
    items = [{"class_path": f"nablafx.{kind}", "init_args": given} for kind, given in arguments.pop("processors")]
    wanted = chain({"name": "graybox", "processors": sections_of(arguments | {"processors": items}, name)}, row)
    for ours, theirs in zip(model.stages, wanted.stages, strict=True):
        assert type(ours.processor) is type(theirs.processor)
        assert type(ours.controller) is type(theirs.controller)
        assert ours.processor.effect_parameters == theirs.processor.effect_parameters
        assert ours.processor.lr_multiplier == theirs.processor.lr_multiplier
    assert config["train"]["learning_rate"] == float(row["learning_rate"])
    weights = {short_name(part["name"]): part["weight"] for part in config["loss"]}
    assert weights == {"l1": float(row["l1_weight"]), "mr_stft": float(row["mr_stft_weight"])}


@pytest.mark.parametrize("name", [*SHIPPED, *OURS])
def test_a_preset_trains_a_step_and_streams(name):
    row = SHIPPED.get(name, {"controls": 0})
    torch.manual_seed(0)
    model = chain(preset(name)["model"], row)
    knobs = torch.rand(2, int(row["controls"])) if int(row["controls"]) else None
    audio, target = (0.2 * torch.randn(2, 2, 1, 700)).unbind()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    (model(audio, knobs)[0] - target).square().mean().backward()
    optimizer.step()
    assert all(value.isfinite().all() for value in model.state_dict().values())
    assert any(not torch.equal(before[key], value) for key, value in model.state_dict().items())
    model.eval()
    with torch.no_grad():
        whole, _ = model(audio, knobs)
        state, parts = model.initial_state(2, knobs), []
        for block in audio.split([1, 64, 300, 335], dim=-1):
            part, state = model(block, knobs, state)
            parts.append(part)
        streamed = torch.cat([*parts, model.flush(state)], dim=-1)[..., model.latency :]
    torch.testing.assert_close(streamed, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_a_short_name_is_the_same_preset(alias, name):
    assert preset(alias) == preset(name)


def test_each_component_is_described_in_one_line():
    assert summary("gb_comp_peq.s+g.d+peq.s+g.s") == "Compressor: EQ, gain, EQ, gain"
    assert summary("gb-param_fuzz-rnl_peq.sc+off.dc+rnl+lp.s") == (
        "Fuzz: EQ, offset, rational, low-pass; for data with controls"
    )
