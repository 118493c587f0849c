"""Experiments: layers are merged, settings are checked, and the printed file loads as the same experiment."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nablafx_core.config import load_experiment
from nablafx_core.config.layers import Layer, merge
from nablafx_core.errors import ConfigError, RegistryError

PACK = '''
from collections.abc import Sequence
from typing import Annotated, Any, Literal
from annotated_types import Ge
from nablafx_core.marks import Section

@hookimpl
def nablafx_models():
    yield Component("tone", "nablafx_stub:Tone", "a gain")
    yield Component("chain", "nablafx_stub:Chain", "processors in line")

@hookimpl
def nablafx_processors():
    yield Component("drive", "nablafx_stub:Drive", "a drive")

@hookimpl
def nablafx_controllers():
    yield Component("fixed", "nablafx_stub:Fixed", "one value")

@hookimpl
def nablafx_datasets():
    yield Component("noise", "nablafx_stub:Noise", "noise")

@hookimpl
def nablafx_losses():
    yield Component("near", "nablafx_stub:Near", "how near")

@hookimpl
def nablafx_metrics():
    yield Component("far", "nablafx_stub:Far", "how far")

@hookimpl
def nablafx_observers():
    yield Component("log", "nablafx_stub:Log", "a log")

@hookimpl
def nablafx_presets():
    yield Component("tone-loud", "nablafx_presets_of:loud.yaml", "a loud tone")
    yield Component("lost", "nablafx_presets_of:lost.yaml", "not there")

class Tone:
    """A gain.

    Args:
        gain_db: in dB,
            for all channels.
        title: any text.
        order: of the filter.
        mode: how.
        taps: of the filter.
    """

    def __init__(self, gain_db: float, title: str = "", order: Annotated[int, Ge(1)] = 2,
                 mode: Literal["soft", "hard"] = "soft", taps: Sequence[float] = (1.0,),
                 limit: float | None = None, sample_rate: int = 48000, controls: Sequence[Any] = ()):
        pass

class Chain:
    def __init__(self, processors: Sequence[Annotated[dict[str, Any], Section("processor")]], sample_rate: int): ...

class Drive:
    def __init__(self, sample_rate: int, amount: float = 1.0): ...

class Fixed:
    def __init__(self, num_parameters: int, num_controls: int = 0, value: float = 0.5): ...

class Noise:
    def __init__(self, seconds: float = 1.0): ...

class Near:
    def __init__(self, power: int = 2): ...

class Far(Near): ...
'''
BASE = {"data": "noise", "model": {"name": "tone", "gain_db": 3.0}, "loss": ["near"], "metrics": ["far"]}
LOUD = "model: {name: tone, gain_db: 12.0, taps: [1.0, 0.5]}\nloss: [{name: near, power: 3}, near]\nmetrics: [far]\n"


@pytest.fixture
def stub(install):
    install("nablafx-stub", PACK)
    presets = install.folder / "nablafx_presets_of"
    presets.mkdir()
    (presets / "__init__.py").touch()
    (presets / "loud.yaml").write_text(LOUD)
    return install


@pytest.fixture
def file(stub, tmp_path):
    def write(text: str, name: str = "e.yaml") -> str:
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def refusal(*args, **kwargs) -> str:
    with pytest.raises((ConfigError, RegistryError)) as error:
        load_experiment(*args, **kwargs)
    return str(error.value)


def test_every_default_is_filled_in(stub):
    config = load_experiment(sections=BASE).config
    assert config["model"] == {
        "name": "nablafx-stub/tone",
        "gain_db": 3.0,
        "title": "",
        "order": 2,
        "mode": "soft",
        "taps": [1.0],
        "limit": None,
    }
    assert config["loss"] == [{"name": "nablafx-stub/near", "weight": 1.0, "power": 2}]
    assert config["metrics"] == [{"name": "nablafx-stub/far", "power": 2}]
    assert config["data"]["seconds"] == 1.0
    assert config["data"]["segment_length"] == 16384
    assert config["train"]["max_steps"] == 15000
    assert config["requires"] == []


def test_the_parts_of_an_experiment(stub):
    experiment = load_experiment(sections=BASE, overrides=["train.seed=7", "data.batch_size=3", "data.seconds=2"])
    assert experiment.train.seed == 7
    assert experiment.loading.batch_size == 3
    assert experiment.dataset == {"name": "nablafx-stub/noise", "seconds": 2.0}
    assert experiment.track.runs_dir == "runs"


def test_later_layers_override_earlier_ones(file):
    first = file("data: noise\nmodel: {preset: tone-loud}\n", "1.yaml")
    gains = [12.0, 1.0, 2.0, 3.0, 4.0]
    layers = {
        "files": [first, file("model: {gain_db: 1.0}", "2.yaml"), file("model: {gain_db: 2.0}", "3.yaml")],
        "sections": {"model": {"gain_db": 3.0}},
        "overrides": ["model.gain_db=4"],
    }
    found = [
        load_experiment([first]),
        *(load_experiment(layers["files"][:count]) for count in (2, 3)),
        load_experiment(layers["files"], sections=layers["sections"]),
        load_experiment(**layers),
    ]
    assert [experiment.config["model"]["gain_db"] for experiment in found] == gains
    assert all(experiment.config["model"]["taps"] == [1.0, 0.5] for experiment in found)
    assert all(experiment.preset == "nablafx-stub/tone-loud" for experiment in found)


@pytest.mark.parametrize(
    "model", [None, "tone", {"name": "tone"}, {"preset": "tone-loud"}, {"preset": "stub/tone-loud", "name": "tone"}]
)
def test_a_preset_may_be_given_beside_the_file(stub, model):
    sections = {"data": "noise"} if model is None else {"data": "noise", "model": model}
    experiment = load_experiment(sections=sections, preset="tone-loud")
    assert experiment.config["model"]["gain_db"] == 12.0
    assert [loss["power"] for loss in experiment.config["loss"]] == [3, 2]
    assert "preset" not in experiment.config["model"]


def test_overrides_change_items_of_lists_in_presets_and_defaults(stub):
    sections = {"data": "noise", "model": {"preset": "tone-loud"}}
    config = load_experiment(sections=sections, overrides=["loss.1.weight=9", "model.taps.0=7"]).config
    near = {"name": "nablafx-stub/near", "weight": 1.0}
    assert config["loss"] == [{**near, "power": 3}, {**near, "weight": 9.0, "power": 2}]
    assert config["model"]["taps"] == [7.0, 0.5]
    lists = {"data": "noise", "model": BASE["model"], "metrics": ["far"]}
    assert load_experiment(sections=lists, overrides=["loss.0.weight=9"]).config["loss"][0]["weight"] == 9.0


def test_a_preset_without_a_name_applies_to_every_component(stub):
    """A preset may set the length of segments for any dataset."""
    below, above = Layer({"data": {"segment_length": 512}}), Layer({"data": {"name": "noise"}})
    assert merge(below, above).value == {"data": {"segment_length": 512, "name": "noise"}}


def test_a_name_overrides_a_preset_like_a_mapping(stub):
    preset = stub.folder / "nablafx_presets_of" / "loud.yaml"
    preset.write_text(preset.read_text() + "data: {segment_length: 512}\n")
    for data in ("noise", {"name": "noise"}):
        config = load_experiment(sections={"data": data, "model": {"preset": "tone-loud"}}).config
        assert config["data"]["segment_length"] == 512


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ("trian: {seed: 1}", ConfigError, "preset tone-loud:.* has no setting 'trian'. Did you mean 'train'"),
        ("requires: [nablafx-none>=2]", RegistryError, "nablafx-none>=2: not installed. Try: pip install"),
    ],
)
def test_a_preset_is_checked_as_an_experiment_is(stub, more, error, message):
    preset = stub.folder / "nablafx_presets_of" / "loud.yaml"
    preset.write_text(f"{preset.read_text()}{more}\n")
    with pytest.raises(error, match=message):
        load_experiment(sections={"data": "noise", "model": {"preset": "tone-loud"}})


def test_given_sections_are_not_modified(stub):
    sections = {"data": "noise", "model": {"preset": "tone-loud", "taps": [1.0]}}
    load_experiment(sections=sections, overrides=["model.taps.0=5"])
    assert sections == {"data": "noise", "model": {"preset": "tone-loud", "taps": [1.0]}}


def test_sections_inside_sections_are_checked_too(stub):
    chain = {"name": "chain", "processors": ["drive", {"name": "drive", "amount": 2, "controller": "fixed"}]}
    config = load_experiment(sections={**BASE, "model": chain}).config
    plain = {"name": "nablafx-stub/drive", "fixed": {}, "lr_multiplier": None, "label": None, "amount": 1.0}
    assert config["model"]["processors"] == [
        {**plain, "controller": None},
        {**plain, "amount": 2.0, "controller": {"name": "nablafx-stub/fixed", "value": 0.5}},
    ]
    overrides = ["model.processors.1.controller.valu=1"]
    assert refusal(sections={**BASE, "model": chain}, overrides=overrides).startswith(
        "--set model.processors.1.controller.valu: model.processors.1.controller.valu: Fixed has no setting 'valu'. "
        "Did you mean 'value'?\n  settings: value"
    )


def test_the_error_for_an_unknown_setting_has_line_suggestion_and_list(file):
    path = file("data: noise\nmodel:\n  name: tone\n  gain_bd: 3\n")
    assert refusal([path]) == (
        f"{path}:4: model.gain_bd: Tone has no setting 'gain_bd'. Did you mean 'gain_db'?\n"
        "  settings: gain_db, title, order, mode, taps, limit, sample_rate, controls"
    )


WRONG = {
    "section": (
        "modle: tone",
        ":1: an experiment has no setting 'modle'. Did you mean 'model'?\n  settings: requires, data",
    ),
    "no model": ("data: noise", "The experiment has no section 'model'. Add one, such as model: {preset: tcn-45-s}"),
    "no data": ("model: tone", "The experiment has no section 'data'. Add one, such as data: {name: pair"),
    "empty model": ("data: noise\nmodel:\n", "The experiment has no section 'model'."),
    "no name": ("data: noise\nmodel: {gain_db: 1}", ":2: model: a model section needs a name, such as {name: …}."),
    "a list": ("data: noise\nmodel: [tone]", ":2: model: a model section needs a name, such as {name: …}."),
    "unknown name": ("data: noise\nmodel: {name: tune}", ":2: model.name: No model named 'tune'. Did you mean 'tone'?"),
    "missing": (
        "data: noise\nmodel: tone",
        ":2: model: Tone needs the setting 'gain_db' (float). in dB, for all channels.",
    ),
    "type": (
        "data: noise\nmodel: {name: tone, gain_db: loud}",
        ":2: model.gain_db: should be a valid number, not 'loud'.",
    ),
    "text": ("data: noise\nmodel: {name: tone, gain_db: '3'}", ":2: model.gain_db: should be a valid number, not '3'."),
    "range": (
        "data: noise\nmodel: {name: tone, gain_db: 1, order: 0}",
        ":2: model.order: should be greater than or equal to 1",
    ),
    "fraction": (
        "data: noise\nmodel: {name: tone, gain_db: 1, order: 1.5}",
        ":2: model.order: should be a valid integer",
    ),
    "boolean": (
        "data: noise\nmodel: {name: tone, gain_db: yes}",
        ":2: model.gain_db: should be a valid number, not True.",
    ),
    "choice": (
        "data: noise\nmodel: {name: tone, gain_db: 1, mode: odd}",
        ":2: model.mode: should be 'soft' or 'hard', not 'odd'",
    ),
    "in a list": (
        "data: noise\nmodel: {name: tone, gain_db: 1,\n taps: [1, x]}",
        ":3: model.taps: 1: should be a valid number",
    ),
    "null": (
        "data: noise\nmodel: {name: tone, gain_db: null}",
        ":2: model.gain_db: should be a valid number, not None.",
    ),
    "preset": ("data: noise\nmodel: {preset: quiet}", ":2: model.preset: No preset named 'quiet'."),
    "preset's file": (
        "data: noise\nmodel: {preset: lost}",
        ":2: model.preset: preset 'nablafx-stub/lost': the pack has no",
    ),
    "two names": (
        "data: noise\nmodel:\n  name: chain\n  preset: tone-loud",
        ":3: model.name is 'chain', but the preset 'tone-loud' is a 'tone'. Remove one of them.",
    ),
    "requires": (
        "requires: nablafx-core",
        ":1: requires: expected a list of requirements such as [nablafx-acme>=0.2].",
    ),
    "not there": (
        "requires: [nablafx-gone>=1]",
        "  nablafx-gone>=1: not installed. Try: pip install 'nablafx-gone>=1'",
    ),
    "loss": (
        "data: noise\nmodel: {name: tone, gain_db: 1}\nloss: near",
        ":3: loss: expected a list of at least one loss.",
    ),
    "no loss": (
        "data: noise\nmodel: {name: tone, gain_db: 1}\nloss: []",
        ":3: loss: expected a list of at least one loss.",
    ),
    "train": (
        "data: noise\nmodel: {name: tone, gain_db: 1}\nloss: [near]\nmetrics: [far]\ntrain:\n  sed: 1",
        ":6: train.sed: 'train' has no setting 'sed'. Did you mean 'seed'?",
    ),
    "train's value": (
        "data: noise\nmodel: {name: tone, gain_db: 1}\nloss: [near]\nmetrics: [far]\ntrain:\n  max_steps: 0",
        ":6: train.max_steps: should be greater than or equal to 1, not 0.",
    ),
    "data's value": (
        "data:\n  name: noise\n  validation: 2\nmodel: tone",
        ":3: data.validation: should be less than 1",
    ),
    "data's key": (
        "data:\n  name: noise\n  second: 2\nmodel: tone",
        ":3: data.second: Noise has no setting 'second'. Did you",
    ),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
def test_errors_name_the_place_of_the_problem(file, text, message):
    path = file(text)
    found = refusal([path])
    assert (f"{path}{message}" if message.startswith(":") else message) in found


NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([math.inf, -math.inf])
VALUES = {
    "model.gain_db": NUMBERS,
    "model.title": st.text(st.characters(exclude_categories=["Cs"]))
    | st.sampled_from(["1e-3", "no", "null", "~", "<<", "[", "1_0"]),
    "model.order": st.integers(min_value=1),
    "model.mode": st.sampled_from(["soft", "hard"]),
    "model.taps": st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=4),
    "model.limit": st.none() | NUMBERS,
    "loss.0.weight": st.floats(0, 1e6),
    "data.batch_size": st.integers(1, 1000),
    "train.tbptt": st.none() | st.just("auto") | st.integers(1, 10**6),
    "train.devices": st.just("auto") | st.integers(1, 8) | st.lists(st.integers(0, 7)),
    "track.observers": st.lists(
        st.sampled_from(["sacred.observers:RunObserver", {"name": "sacred.observers:SqlObserver", "url": "${URL}"}])
    ),
}


def as_yaml(value: object) -> str:
    return json.dumps(value) if value not in (math.inf, -math.inf) else f"{value}".replace("inf", ".inf")


def sections_with(values: dict[str, object]) -> dict[str, object]:
    sections: dict = {"model": {}, "loss": [{"name": "near"}], "data": {"name": "noise"}, "train": {}, "track": {}}
    for place, value in values.items():
        section, *_, key = place.split(".")
        (sections[section][0] if section == "loss" else sections[section])[key] = value
    return sections


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(values=st.fixed_dictionaries({}, optional=VALUES))
@example({"model.title": "1e-3"})
@example({"model.title": "2026-11-23"})
@example({"model.title": "\x85 and \u2028"})
@example({"model.title": "<<"})
@example({"model.gain_db": math.inf, "model.taps": [1e-7, 1e22]})
def test_the_printed_experiment_loads_as_the_same_experiment(file, values):
    experiment = load_experiment([file(yaml.safe_dump(BASE))], sections=sections_with(values))
    path = Path(file(""))
    path.write_text(experiment.to_yaml(), encoding="utf-8")
    again = load_experiment([path])
    assert again.config == experiment.config
    assert again.to_yaml() == experiment.to_yaml()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(values=st.fixed_dictionaries({}, optional=VALUES))
@example({"model.title": "a: b # c", "loss.0.weight": 2.0})
@example({"model.gain_db": -math.inf, "train.devices": [0, 1]})
def test_an_override_equals_a_section(stub, values):
    base = {**BASE, "loss": [{"name": "near"}]}
    overrides = [f"{place}={as_yaml(value)}" for place, value in values.items()]
    written = load_experiment([], sections=merge(Layer(base), Layer(sections_with(values))).value)
    assert load_experiment(sections=base, overrides=overrides).config == written.config
