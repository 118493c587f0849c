"""Names keep their meaning: a second pack with the same names does not affect existing files."""

from __future__ import annotations

import shlex
import zipfile

import pytest
import torch
import yaml
from click.testing import CliRunner

from nablafx_core.bundles.bundle import describe_bundle, load_bundle, save_bundle
from nablafx_core.cli import cli
from nablafx_core.config import load_experiment
from nablafx_core.config.components import qualified_experiment
from nablafx_core.errors import BundleError, ConfigError, RegistryError
from nablafx_core.names import figure_names, names_match, told_apart
from nablafx_core.registry import Registry
from nablafx_core.registry.building import build
from nablafx_core.registry.import_paths import remember
from nablafx_core.registry.provenance import Provenance
from nablafx_core.sweep.resuming import resumable_sweep
from nablafx_core.training.resumable import resumable
from reference.run_folders import write_run

ACME = """
from typing import Annotated, Any, Literal
from nablafx_core.interfaces import Controller, Loss, Metric, Model, Processor
from nablafx_core.controls import Parameter
from nablafx_core.interfaces import Dataset
from nablafx_core.marks import Named, Section
from nablafx_core.interfaces import RunObserver

KINDS = {
    "models": "Ladder", "processors": "Gain", "controllers": "Static", "losses": "ESR", "metrics": "Score",
    "datasets": "Pair", "observers": "Log",
}

class Ladder(Model):
    def __init__(self, sample_rate: int = 48000, order: int = 2,
                 first: Annotated[dict[str, Any], Section("processor")] | None = None,
                 bands: dict[str, Annotated[dict[str, Any], Section("processor")]] = {},
                 two: tuple[Annotated[str, Named("processor")], int] = ("gain", 1)):
        super().__init__(sample_rate)
        self.order = order

class Gain(Processor):
    effect_parameters = (Parameter("gain_db", -12, 12),)
    def __init__(self, sample_rate: int = 48000, most: float = 12.0):
        super().__init__(sample_rate)
    def forward(self, audio, parameters, state=None):
        return audio * 10 ** (parameters["gain_db"].reshape(len(audio), 1, -1) / 20), {}

class Static(Controller):
    def __init__(self, num_parameters: int, num_controls: int = 0):
        super().__init__(num_parameters, num_controls)
    def forward(self, audio, controls=None, state=None):
        return audio.new_full((len(audio), self.num_parameters), 0.5), {}

class ESR(Loss): ...
class Score(Metric): ...
class Log(RunObserver): ...

class Pair(Dataset):
    def __init__(self, path: str = "", device: Annotated[str, Named("processor")] = "gain"): ...

def components(plural, names):
    return [Component(name, f"PACKAGE:{KINDS[plural]}", "") for name in names]
"""
NAMES = {
    "models": "ladder",
    "processors": "gain",
    "controllers": "static",
    "losses": "esr2",
    "metrics": "esr2",
    "datasets": "pair",
    "observers": "log",
}


def pack(install, name, version="1.0", **names):
    hooks = "".join(
        f"\n@hookimpl\ndef nablafx_{plural}():\n    return components({plural!r}, {provided.split()!r})\n"
        for plural, provided in (names or NAMES).items()
    )
    source = ACME.replace("PACKAGE", name.replace("-", "_"))
    install(name, source + hooks, version=version)


SECTIONS = {
    "requires": [],
    "data": "pair",
    "model": {
        "name": "ladder",
        "first": "gain",
        "bands": {"low": "gain", "high": {"name": "acme/gain", "controller": "static"}},
    },
    "loss": ["esr2"],
    "metrics": [{"name": "esr2"}, "nablafx-core/esr"],
    "train": {},
    "track": {"observers": ["log"]},
}
#: The other sections of a record, which has all of them.
REST = {"requires": [], "loss": ["nablafx-core/l1"], "metrics": ["nablafx-core/esr"], "train": {}, "track": {}}
CHAIN = {
    "name": "graybox",
    "processors": [
        {"name": "gain", "controller": "static"},
        {"parallel": [[], [{"name": "gain", "fixed": {"gain_db": 3}}]], "mix": {"controller": {"name": "static"}}},
    ],
}


def names_in(value):
    """Yield every name of a component, at any depth."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from [item] if key in ("name", "controller") and isinstance(item, str) else names_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from names_in(item)


def test_names_at_every_level_of_an_experiment_get_their_packs(install):
    pack(install, "nablafx-acme")
    config = load_experiment(sections=SECTIONS).config
    assert all(name.startswith(("nablafx-acme/", "nablafx-core/")) for name in names_in(config))
    assert len(list(names_in(config))) == 10
    assert config["data"]["device"] == config["model"]["two"][0] == "nablafx-acme/gain"
    assert config["model"]["bands"]["high"]["controller"] == {"name": "nablafx-acme/static"}
    pack(install, "nablafx-other")
    assert load_experiment(sections=config).config == config


def test_short_names_of_older_runs_mean_the_recorded_packs(install, tmp_path):
    pack(install, "nablafx-acme")
    expected = load_experiment(sections=SECTIONS).config
    packs = [{"name": "nablafx_acme", "version": "1.0"}, {"name": "nablafx-core", "version": "0.1.0"}]
    run = write_run(tmp_path, "20261123-amber-fjord-7k3q", SECTIONS, status="INTERRUPTED", packs=packs)
    remember(run.name, {"track": {"observers": ["nablafx-acme/log"]}})
    pack(install, "nablafx-other")
    with pytest.raises(ConfigError, match="is provided by 2 packs"):
        load_experiment(sections=SECTIONS)
    _, experiment = resumable(run.name, tmp_path)
    assert experiment.config == {**expected, "track": {**expected["track"], "runs_dir": str(tmp_path)}}
    replaced = load_experiment([run / "config.yaml"], ["model.order=3"], sections={"model": "ladder"}).config["model"]
    assert replaced == {**expected["model"], "order": 3}


@pytest.mark.parametrize(
    ("recorded", "said"),
    [
        ({"nablafx-gone": "0.2.1+local"}, "it is not installed: pip install 'nablafx-gone>=0.2.1'"),
        ({"nablafx-acme": "2.0"}, "1.0 is installed: pip install 'nablafx-acme>=2.0'"),
        ({"nablafx-gone": "?"}, "it is not installed: pip install nablafx-gone"),
        ({"nablafx-dsp": "0.1.0"}, "made with nablafx-dsp 0.1.0, which NABLAFX_PACKS leaves out"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "{pack}/"])
def test_a_missing_or_older_pack_is_named_with_its_version(install, tmp_path, recorded, said, prefix):
    pack(install, "nablafx-acme", processors="gain", datasets="pair", controllers="static")
    ((name, version),) = recorded.items()
    model = {"name": prefix.format(pack=name) + "tcn", "num_blocks": 2}
    packs = [{"name": name, "version": version}]
    config = {**REST, "data": "acme/pair", "model": model}
    run = write_run(tmp_path, "20261123-amber-fjord-7k3q", config, packs=packs)
    with pytest.raises(ConfigError) as told:
        load_experiment([run / "config.yaml"])
    assert "tcn'" in str(told.value) and str(told.value).count(said) == 1
    with pytest.raises(BundleError) as told:
        load_bundle(bundle_of(tmp_path, model, recorded))
    assert str(told.value).count(said) == 1


@pytest.mark.parametrize("told", ["recorded", "named"])
def test_a_suggested_command_is_quoted(told):
    """Names of packs come from untrusted files, and users copy suggested commands."""
    name = "gone'; shutdown #"
    packs, model = ({name: "0.2"}, "ladder") if told == "recorded" else ({}, f"{name}/ladder")
    with pytest.raises(RegistryError) as error:
        Provenance(packs).find("model", model)
    (command,) = [line.partition("pip install ")[2] for line in str(error.value).splitlines() if "pip install" in line]
    assert len(shlex.split(command)) == 1


def test_a_missing_pack_is_not_replaced_by_another_one(install, tmp_path):
    pack(install, "nablafx-acme")
    with pytest.raises(BundleError, match="pip install 'nablafx-gone>=0.2'"):
        load_bundle(bundle_of(tmp_path, {"name": "ladder"}, {"nablafx-gone": "0.2"}))
    # If all recorded packs are installed, the component may have moved to another pack.
    assert load_bundle(bundle_of(tmp_path, {"name": "ladder"}, {"nablafx-core": "0.1.0"})).order == 2


def bundle_of(folder, section, packs, weights=None):
    """Write a bundle as an earlier version did."""
    model = build("model", {"name": "nablafx_core.testing.tiny:TinyModel"}) if weights is None else weights
    if weights is None:
        model = torch.nn.Module()
    model.section = section
    for name, value in {"sample_rate": 48000, "latency": 0, "receptive_field": 1, "causal": True}.items():
        if not hasattr(model, name):
            setattr(model, name, value)
    path = folder / "old.nfx"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nablafx_core.bundles.bundle._packs_of", lambda model: packs)
        return save_bundle(model, path)


def test_bundles_load_beside_a_second_pack_with_the_same_names(install, tmp_path):
    pack(install, "nablafx-acme", processors="gain", controllers="static")
    model = build("model", CHAIN)
    saved = save_bundle(model, tmp_path / "new.nfx")
    description = describe_bundle(saved)
    assert set(names_in(description["model"])) == {"nablafx-core/graybox", "nablafx-acme/gain", "nablafx-acme/static"}
    assert description["packs"] == {"nablafx-acme": "1.0", "nablafx-core": Registry.discover().packs[0].version}
    old = bundle_of(tmp_path, CHAIN, description["packs"], model)
    pack(install, "nablafx-other", processors="gain", controllers="static")
    for path in (saved, old):
        again = load_bundle(path)
        assert {type(stage.processor).__module__ for stage in again.stages} == {"nablafx_acme", model_module()}
        assert set(names_in(again.section)) == set(names_in(description["model"]))
    with pytest.raises(RegistryError, match="provided by 2 packs"):
        build("model", CHAIN)


def model_module():
    from nablafx_core.graybox import Mix

    return Mix.__module__


def test_a_name_means_the_pack_of_the_recorded_version(install, tmp_path):
    """Both packs were installed, but only one of them had the name then."""
    pack(install, "nablafx-acme", "1.0", processors="gain", datasets="pair", models="ladder")
    pack(install, "nablafx-other", "2.0", processors="gain")
    packs = [{"name": "nablafx-acme", "version": "1.0"}, {"name": "nablafx-other", "version": "1.5"}]
    config = {**REST, "data": "acme/pair", "model": {"name": "ladder", "first": "gain"}}
    run = write_run(tmp_path, "20261123-amber-fjord-7k3q", config, packs=packs)
    model = load_experiment([run / "config.yaml"]).config["model"]
    assert model["first"]["name"] == "nablafx-acme/gain"


def test_a_sweep_is_resumed_with_its_recorded_packs(install, tmp_path):
    pack(install, "nablafx-acme")
    config = {
        "experiment": {"data": "pair", "model": "ladder", "loss": ["esr2"]},
        "set": ["metrics=[esr2]"],
        "sweep": {
            "search": "grid",
            "metric": "validation/esr2",
            "space": [{"setting": "model.order", "values": [1, 2]}],
        },
    }
    packs = [{"name": "nablafx-acme", "version": "1.0"}]
    run = write_run(tmp_path, "20261123-amber-fjord-7k3q", config, command="sweep", status="INTERRUPTED", packs=packs)
    pack(install, "nablafx-other")
    plan = resumable_sweep(run.name, tmp_path)
    assert [trial.experiment.config["model"]["name"] for trial in plan.trials] == ["nablafx-acme/ladder"] * 2
    assert plan.trials[0].experiment.config["metrics"] == [{"name": "nablafx-acme/esr2"}]


def test_lists_conditions_and_comparisons_accept_names_with_and_without_packs(tmp_path):
    old = {"model": {"name": "tcn", "width": 1}, "data": {"name": "simulated", "device": "fuzz_face"}}
    new = {
        "model": {"name": "nablafx-models/tcn", "width": 2},
        "data": {"name": "nablafx-data/simulated", "device": "nablafx-dsp/fuzz_face"},
    }
    runs = {"20261123-amber-fjord-7k3q": old, "20261123-brown-heath-2m4x": new}
    for run_id, config in runs.items():
        write_run(tmp_path, run_id, config, {"test/esr": 0.1})

    def answer(*arguments):
        result = CliRunner().invoke(cli, ["runs", "--runs-dir", str(tmp_path), *arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    for condition in ("model.name=tcn", "model=tcn", "model.name=nablafx-models/tcn", "model.name=models/tcn"):
        assert answer("--where", condition).count("2026") == 2
    assert answer("--where", "data.device in [fuzz_face] and device=fuzz_face and data=simulated").count("2026") == 2
    assert "20261123-brown" not in answer("--where", "model.name=acme/tcn")
    assert "2026" not in answer("--where", "model.name!=tcn")
    assert "nablafx-" not in answer()
    compared = answer("compare", *runs)
    assert "model.width" in compared and "model.name" not in compared and "device" not in compared
    best = answer("best", "--by", "metrics.esr", "--per", "model.name")
    assert best.count("2026") == 1 and "nablafx-" not in best


def test_presets_of_this_project_name_their_packs():
    names = Registry.discover()
    for entry in names.entries("preset"):
        written = yaml.safe_load(entry.resource().read_text(encoding="utf-8"))
        assert qualified_experiment(written, names) == written, entry.qualified_name


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("gain", "gain", True),
        ("gain", "nablafx-dsp/gain", True),
        ("dsp/gain", "nablafx-dsp/gain", True),
        ("NablAFx_dsp/gain", "nablafx-dsp/gain", True),
        ("acme/gain", "nablafx-dsp/gain", False),
        ("gain", "nablafx-dsp/tanh", False),
        ("Gain", "nablafx_dsp:Gain", False),
        ("a:B", "a:B", True),
    ],
)
def test_names_that_can_mean_the_same_component(one, other, same):
    assert names_match(one, other) is names_match(other, one) is same


def test_figures_have_short_names():
    assert figure_names(["nablafx-core/esr", "a:B", "acme/esr", "esr"]) == ["esr", "a:B", "esr_2", "esr_3"]
    assert figure_names(["esr_2", "core/esr", "acme/esr"]) == ["esr_2", "esr", "esr_3"]
    assert told_apart(["tcn", "models/tcn", "nablafx-models/tcn", "acme/x", "x/x", "-"]) == {
        "tcn": "tcn",
        "models/tcn": "tcn",
        "nablafx-models/tcn": "tcn",
        "acme/x": "acme/x",
        "x/x": "x/x",
        "-": "-",
    }


def test_a_bundle_whose_packs_are_not_strings_is_damaged(tmp_path):
    path = bundle_of(tmp_path, {"name": "ladder"}, {"nablafx-core": 1})
    with pytest.raises(BundleError, match=r"old.nfx: .*'packs'"):
        load_bundle(path)
    assert zipfile.is_zipfile(path)
