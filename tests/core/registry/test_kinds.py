"""Arguments that the framework passes to components, and its reserved keys in sections."""

from __future__ import annotations

import logging

import pytest

from nablafx_core.config import load_experiment
from nablafx_core.errors import ConfigError, RegistryError
from nablafx_core.evaluation.record_test import record_test
from nablafx_core.registry import Registry
from nablafx_core.registry.building import build
from nablafx_core.registry.kinds import KINDS
from nablafx_core.registry.settings import reserved_keys
from nablafx_core.testing import pack_results
from nablafx_core.testing.laws_preset import preset_experiment, preset_trains
from nablafx_core.training.fit import train
from reference.registered import preset_file

PACK = """
from nablafx_core.interfaces import Loss, Metric, Processor
from nablafx_core.interfaces import Dataset
from nablafx_core.testing.tiny import TinyData
import torch

RATES = []

class Mel(Loss):
    def __init__(self, sample_rate: int = 48000, bands: int = 8):
        super().__init__()
        RATES.append(("loss", sample_rate))
    def forward(self, prediction, target):
        return (prediction - target).square().mean(dim=(1, 2))

class MelMetric(Metric):
    def __init__(self, sample_rate: int):
        RATES.append(("metric", sample_rate))
    def statistics(self, prediction, target):
        return (prediction - target).double().square().sum(dim=(1, 2))[:, None]
    def value(self, sums):
        return float(sums[0])

class Tiny(TinyData):
    def __init__(self, sample_rate: int = 48000, num_samples: int = 4096):
        super().__init__(0, num_samples, sample_rate)

@hookimpl
def nablafx_losses():
    return [Component("mel", "nablafx_acme:Mel", "")]

@hookimpl
def nablafx_metrics():
    return [Component("mel", "nablafx_acme:MelMetric", "")]

@hookimpl
def nablafx_datasets():
    return [Component("tiny", "nablafx_acme:Tiny", "")]

@hookimpl
def nablafx_presets():
    return [Component("p", "acme_files:p.yaml", "")]
"""
SECTIONS = {
    "data": {"name": "tiny", "sample_rate": 16000, "segment_length": 512, "batch_size": 2, "split": "segment"},
    "model": {"name": "nablafx_core.testing.tiny:TinyModel"},
    "loss": ["mel"],
    "metrics": ["mel"],
    "train": {"max_steps": 1, "accelerator": "cpu"},
}


def given():
    import nablafx_acme

    found = set(nablafx_acme.RATES)
    nablafx_acme.RATES.clear()
    return found


def test_losses_and_metrics_are_built_for_the_rate_of_the_data(install, tmp_path):
    install("nablafx-acme", PACK)
    experiment = load_experiment(sections={**SECTIONS, "track": {"runs_dir": str(tmp_path)}})
    assert experiment.config["loss"] == [{"name": "nablafx-acme/mel", "weight": 1.0, "bands": 8}]
    result = train(experiment)
    assert given() == {("loss", 16000), ("metric", 16000)}
    record_test(result.bundle, load_experiment([result.folder / "config.yaml"]))
    assert given() == {("metric", 16000)}


def test_the_laws_pass_the_same_arguments_as_the_framework(install):
    install("nablafx-acme", PACK)
    preset_file(install, "model: {name: nablafx_core.testing.tiny:TinyModel}\nloss: [mel]\nmetrics: [mel]\n")
    assert [result for result in pack_results("acme") if result.failure] == []
    assert given() == {("loss", 48000), ("metric", 48000)}
    experiment = preset_experiment(Registry.discover().find("preset", "p"))
    preset_trains(experiment)
    assert given() == {("loss", 48000), ("metric", 48000)}


def test_a_sample_rate_in_the_experiment_is_kept_with_a_warning(install, caplog):
    install("nablafx-acme", PACK)
    from nablafx_core.scoring.built import built_losses

    with caplog.at_level(logging.WARNING):
        built_losses([{"name": "mel", "weight": 1.0, "sample_rate": 48000}], 16000)
    assert given() == {("loss", 48000)}
    assert "mel has sample_rate 48000 Hz, but the data has 16000 Hz" in caplog.text


def test_a_dataset_gets_the_sample_rate_of_the_model_section(install):
    install("nablafx-acme", PACK)
    data, model = {"name": "tiny"}, {**SECTIONS["model"], "sample_rate": 16000}
    sections = {"data": data, "model": model, "loss": ["mel"], "metrics": ["mel"]}
    assert load_experiment(sections=sections).config["data"]["sample_rate"] == 16000
    written = {**sections, "data": {**data, "sample_rate": 8000}}
    assert load_experiment(sections=written).config["data"]["sample_rate"] == 8000
    assert load_experiment(sections={**sections, "model": SECTIONS["model"]}).config["data"]["sample_rate"] == 48000


RESERVED = {
    "model": "name preset",
    "processor": "name controller fixed lr_multiplier label parallel mix sidechain",
    "controller": "name",
    "dataset": "name segment_length batch_size split validation split_seed num_workers preload",
    "loss": "name weight",
    "metric": "name",
    "device": "name",
    "importer": "name path",
    "exporter": "name path model",
    "observer": "name from_config",
}
ARGUMENTS = [(kind, key) for kind, keys in RESERVED.items() for key in keys.split()]


@pytest.mark.parametrize(("kind", "key"), ARGUMENTS)
def test_a_setting_named_like_a_key_of_the_framework_is_refused(install, kind, key):
    interface = KINDS[kind].interface.replace(":", " import ")
    install(
        "nablafx-acme",
        f"from {interface} as Base\n"
        f'class Thing(Base):\n    def __init__(self, {key}: str = "", own: int = 1): ...\n'
        f"@hookimpl\ndef {KINDS[kind].hook}():\n    return [Component('thing', 'nablafx_acme:Thing', '')]\n",
        version="1.5",
    )
    said = f"{kind} 'thing' of nablafx-acme 1.5 has a setting '{key}', which is a key of the framework"
    with pytest.raises(RegistryError, match=said):
        build(kind, "thing")
    sections = {"data": "thing"} if kind == "dataset" else {"data": "nablafx_core.testing.tiny:TinyData"}
    sections["model"] = "thing" if kind == "model" else {"name": "graybox", "processors": [{"name": "thing"}]}
    if kind in ("model", "dataset", "processor"):
        with pytest.raises(ConfigError, match=said):
            load_experiment(sections=sections)
    laws = {result.law: result.failure for result in pack_results("acme")}
    assert laws["settings can be written"].startswith(
        f"{key}: is a key of the framework in sections of the kind {kind}"
    )


def test_reserved_keys_are_the_keys_that_the_framework_reads():
    for kind in KINDS:
        assert reserved_keys(kind) == frozenset(RESERVED.get(kind, "name").split())
