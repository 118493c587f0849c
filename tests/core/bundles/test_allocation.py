"""The memory that a model would need is known before it is built, so that a small file cannot request too much."""

from __future__ import annotations

import gc
import re
import zipfile

import pytest
import torch
import yaml

import nablafx_core as nfx
from nablafx_core.bundles.allocation import STATE_OF_A_BUNDLE, build_within
from nablafx_core.bundles.bundle import DESCRIPTION, save_bundle
from nablafx_core.config import load_experiment
from nablafx_core.config.check import Checker
from nablafx_core.config.layers import Layer
from nablafx_core.errors import BundleError, ModelError, NablafxError
from nablafx_core.registry.building import build, component_settings
from nablafx_core.registry.settings import SettingsError, checked_value, plain_default
from nablafx_core.training.prepared import prepared_data, prepared_model

pytestmark = pytest.mark.slow

COMPRESSOR = {"name": "compressor", "controller": {"name": "static"}, "lookahead_ms": 0.0}
MODELS = {
    "tcn": {"name": "tcn", "num_blocks": 4},
    "lstm": {"name": "lstm", "hidden_size": 4, "pre_roll": 10},
    "s4": {"name": "s4", "num_blocks": 1, "pre_roll": 10},
    "chain": {"name": "graybox", "processors": [COMPRESSOR]},
    "delay": {"name": "a_delay_of_mine:Delay"},
    "wide": {"name": "a_delay_of_mine:Wide", "hidden_size": 4, "num_layers": 1},
}
DELAY = """
import torch
from nablafx_core.interfaces import Model


class Delay(Model):
    '''Has a line whose length neither a weight nor an attribute tells.'''

    def __init__(self, length: int = 10, times: int = 1, sample_rate: int = 48000, controls=()):
        super().__init__(sample_rate, controls)
        self.length = length
        self.gains = torch.nn.ModuleList(torch.nn.Identity() for _ in range(times))

    def initial_state(self, batch_size, controls=None):
        return {"line": torch.zeros(batch_size, self.length), "other": torch.zeros(batch_size, self.length)}

    def forward(self, audio, controls=None, state=None):
        return audio, state or {}


class Wide(Model):
    '''Has sizes without ranges.'''

    def __init__(self, hidden_size: int, num_layers: int, sample_rate: int = 48000, controls=()):
        super().__init__(sample_rate, controls)
        self.layers = torch.nn.ModuleList(torch.nn.Linear(hidden_size, hidden_size) for _ in range(num_layers))

    def forward(self, audio, controls=None, state=None):
        return audio, state or {}
"""
HUGE = [
    ("tcn", "dilation_growth", 1000, "a receptive field of"),
    ("delay", "length", 10**10, "40.0 GB of memory; 1.1 GB is the most"),
    ("delay", "length", 2 * 10**8, "1.6 GB of memory"),
    ("delay", "length", 10**30, "more memory than there can be"),
]


@pytest.fixture(autouse=True)
def delay(install, monkeypatch):
    monkeypatch.delenv("NABLAFX_PACKS")
    install.module("a_delay_of_mine", DELAY)
    nfx.Registry.discover.cache_clear()


def changed(model, setting, value):
    """Return the section with another value at a dotted path."""
    section = yaml.safe_load(yaml.safe_dump(MODELS[model]))
    *places, last = setting.split(".")
    inner = section
    for place in places:
        inner = inner[int(place) if place.isdigit() else place]
    inner[last] = value
    return section


def bundle_of(section, weights_of, folder):
    """Write the bundle of a model whose description has other settings."""
    path = save_bundle(build("model", weights_of, sample_rate=48000).eval(), folder / "m.nfx")
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    described = yaml.safe_load(parts[DESCRIPTION])
    described["model"].update({key: value for key, value in section.items() if key != "name"})
    parts[DESCRIPTION] = yaml.safe_dump(described).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize(("model", "setting", "value", "need"), HUGE)
def test_a_bundle_that_needs_too_much_memory_is_rejected(model, setting, value, need, tmp_path):
    path = bundle_of(changed(model, setting, value), MODELS[model], tmp_path)
    with pytest.raises(BundleError, match=rf"m\.nfx: .*(\n.*)*model\.{setting} is [^:]*: the model would need {need}"):
        nfx.load(path, trust="a_delay_of_mine")


@pytest.mark.parametrize(
    ("model", "setting", "value", "need"),
    [
        HUGE[0],
        ("wide", "hidden_size", 90_000, "32.4 GB of memory"),
        ("wide", "num_layers", 9_000, "more than 4,000 parts"),
        ("delay", "times", 10**9, "more than 4,000 parts"),
        ("delay", "times", 50_000, "more than 4,000 parts"),
        ("delay", "length", 10**12, "4,000.0 GB of memory"),
    ],
)
def test_an_experiment_that_needs_too_much_memory_is_rejected(model, setting, value, need, monkeypatch):
    data = {"name": "nablafx_core.testing.tiny:TinyData"}
    experiment = load_experiment(sections={"data": data, "model": changed(model, setting, value)})
    dataset = prepared_data(experiment)
    monkeypatch.setattr("nablafx_core.training.prepared.memory_of_this_machine", lambda: 16 * 10**9)
    with pytest.raises(ModelError, match=f"model.{setting} is [^:]*: the model would need .*{need}"):
        prepared_model(experiment, dataset)


def test_a_rejected_model_is_freed():
    """Errors keep the frames that they passed, and frames keep the model, so an error must not be raised twice."""
    with pytest.raises(ModelError, match="more than 4,000 parts"):
        build_within(changed("delay", "times", 5_000), STATE_OF_A_BUNDLE)
    gc.collect()
    assert [found for found in gc.get_objects() if type(found).__name__ == "Delay"] == []


def test_the_largest_value_in_the_message_is_accepted():
    with pytest.raises(ModelError) as error:
        build_within(changed("delay", "length", 10**10), STATE_OF_A_BUNDLE)
    largest = int(re.findall(r"[\d,]+", str(error.value))[-1].replace(",", ""))
    assert STATE_OF_A_BUNDLE / 2 < 8 * largest <= STATE_OF_A_BUNDLE
    assert build_within(changed("delay", "length", 10**5), STATE_OF_A_BUNDLE).length == 10**5


@pytest.mark.parametrize("model", MODELS)
def test_ordinary_models_are_built_unchanged(model, tmp_path):
    section = changed(model, "length", 200_000) if model == "delay" else MODELS[model]
    torch.manual_seed(0)
    expected = build("model", section).state_dict()
    torch.manual_seed(0)
    found = build_within(section, STATE_OF_A_BUNDLE).state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    nfx.load(bundle_of(section, section, tmp_path), trust="a_delay_of_mine")


def integers(value, path=()):
    """Yield the integers in plain data, with their places."""
    for key, item in enumerate(value) if isinstance(value, list) else ():
        yield from integers(item, (*path, key))
    if isinstance(value, int) and not isinstance(value, bool):
        yield path


SIZES = [
    (kind, entry.component.name, name, path)
    for kind in ("model", "processor", "controller")
    for entry in nfx.Registry.discover().entries(kind)
    if entry.pack.name.startswith("nablafx-")
    for name, setting in component_settings(entry).items()
    if name != "sample_rate"
    for path in integers(plain_default(setting))
]


@pytest.mark.parametrize(("kind", "name", "size", "path"), SIZES)
def test_every_size_has_a_range(kind, name, size, path):
    setting = component_settings(nfx.Registry.discover().find(kind, name))[size]
    for number in (10**8, -1):
        value = number if not path else [number if path == (i,) else 1 for i in range(len(setting.default))]
        with pytest.raises(SettingsError, match=r"should be (from \d+ to [\d,]+, |2, 4 or 8)"):
            checked_value(setting, value)


@pytest.mark.parametrize("value", [-1.0, 1e9, float("nan"), float("inf")])
def test_a_look_ahead_has_a_range(value, tmp_path):
    path = bundle_of(changed("chain", "processors.0.lookahead_ms", value), MODELS["chain"], tmp_path)
    with pytest.raises(BundleError, match=r"model\.processors\.0\.lookahead_ms: should be from 0 to 10,000, not"):
        nfx.load(path)


def test_a_bundle_has_a_maximum_number_of_controls(tmp_path):
    controls = [{"name": f"knob {number}"} for number in range(257)]
    with pytest.raises(BundleError, match=r"model\.controls has 257 controls; 256 is the maximum"):
        nfx.load(bundle_of({"controls": controls}, MODELS["tcn"], tmp_path))


@pytest.mark.parametrize("rate", [10**9, 0, 44_100.5, float("nan"), float("inf"), True, "x", None, [48000]])
def test_the_sample_rate_of_a_bundle_is_checked_before_its_model_is_built(rate, tmp_path):
    with pytest.raises(BundleError, match=r"m\.nfx: model\.yaml: model\.sample_rate is"):
        nfx.load(bundle_of({"sample_rate": rate}, MODELS["chain"], tmp_path))


def nested(depth):
    section = {"name": "tanh"}
    for _ in range(depth):
        section = {"name": "oversampled", "processor": section}
    return section


@pytest.mark.parametrize("processors", [[COMPRESSOR] * 300, [{"parallel": [[COMPRESSOR]] * 300}], [nested(50)]])
def test_the_number_and_depth_of_components_are_limited(processors, tmp_path):
    with pytest.raises(BundleError, match=r"model\.processors\.[\w.]+: more than 256 components"):
        nfx.load(bundle_of({"processors": processors}, MODELS["chain"], tmp_path))


@pytest.mark.parametrize(
    "section",
    [
        {"name": "lstm", "hidden_size": 1024},
        {"name": "tcn", "num_blocks": 20, "channel_width": 128, "dilation_growth": 2},
        {"name": "s4", "num_states": 64, "channel_width": 64},
        {"name": "graybox", "processors": [{"name": "cabinet", "num_taps": 48_000}]},
        {"name": "graybox", "processors": [COMPRESSOR | {"lookahead_ms": 100.0}]},
        {"name": "tcn", "conditioning": "film", "controls": [{"name": f"knob {number}"} for number in range(16)]},
    ],
    ids=lambda section: section["name"],
)
def test_a_large_but_realistic_model_is_built_and_loaded(section, tmp_path):
    checked = Checker(Layer({}), nfx.Registry.discover(), injected=True).section("model", section, ("model",))
    nfx.load(save_bundle(build_within(checked, 8 * 2**30), tmp_path / "m.nfx"))


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("num_blocks", "4", r"model.num_blocks: should be a valid integer, not '4'"),
        ("kernel_size", 3.5, r"model.kernel_size: should be a valid integer"),
        ("causal", "yes", r"model.causal: should be a valid boolean"),
        ("conditioning", "hyper", r"model.conditioning: should be 'none', 'film'"),
        ("controls", [{"name": 3}], r"model.controls: .*should be a valid string"),
    ],
)
def test_settings_of_a_bundle_are_checked_like_those_of_an_experiment(setting, value, message, tmp_path):
    with pytest.raises(BundleError, match=rf"m\.nfx: .*(\n.*)*{message}"):
        nfx.load(bundle_of({setting: value}, MODELS["tcn"], tmp_path))


def test_settings_of_the_parts_of_a_bundle_are_checked(tmp_path):
    section = changed("chain", "processors.0.lookahead_ms", "long")
    with pytest.raises(NablafxError, match=r"model.processors.0.lookahead_ms: should be a valid number, not 'long'"):
        nfx.load(bundle_of(section, MODELS["chain"], tmp_path))
