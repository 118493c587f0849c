"""``nablafx show`` accepts components, sections of the experiment file, and runs."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

import nablafx_core as nfx
from nablafx_core.cli import cli
from nablafx_core.config.experiment import SECTIONS
from nablafx_core.config.layers import read_yaml
from nablafx_core.config.schema import LoadingSettings, TrackSettings, TrainSettings
from nablafx_core.config.sections import sections
from nablafx_core.errors import NablafxError

OLD, NEW = "20261123-amber-fjord-7k3q", "20261124-quiet-heron-p2ws"


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Create two runs, the older one with a model."""
    monkeypatch.chdir(tmp_path)
    for run, day in ((OLD, 23), (NEW, 24)):
        folder = tmp_path / "runs" / run
        folder.mkdir(parents=True)
        entry = {"status": "COMPLETED", "command": "train", "start_time": f"2026-11-{day}T00:00:00"}
        (folder / "run.json").write_text(json.dumps(entry))
    nfx.save_bundle(
        nfx.build("model", {"name": "lstm", "hidden_size": 2}), tmp_path / "runs" / OLD / "model.nfx", {"of": OLD}
    )


def shown(*arguments, code=0):
    result = CliRunner().invoke(cli, ["show", *arguments])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result.stdout if code == 0 else str(result.exception)


@pytest.mark.parametrize("name", ["latest", OLD, "20261123", "amber", f"runs/{OLD}", f"runs/{OLD}/model.nfx"])
def test_show_accepts_the_names_of_runs(runs, name):
    assert json.loads(shown(name, "--json"))["info"] == {"of": OLD}
    assert f"of: {OLD}" in shown(name)


def test_a_run_without_a_model_and_an_ambiguous_name_are_errors(runs):
    assert "no model.nfx" in shown("quiet", code=1)
    assert "2 runs in runs begin with '2026'" in shown("2026", code=1)
    assert json.loads(shown("amber", "--runs-dir", "runs", "--json"))["info"] == {"of": OLD}


@pytest.mark.parametrize(
    ("name", "meant"), [("tnc", "tcn"), ("trian", "train"), ("lattest", "latest"), (OLD[:-2] + "xx", OLD)]
)
def test_an_unknown_name_gets_one_suggestion(runs, name, meant):
    said = shown(name, code=1)
    assert said.startswith(f"Nothing is named '{name}'. Did you mean '{meant}'?")
    assert len(said) < 250


def test_an_unknown_preset_gets_a_suggestion_and_not_every_name():
    with pytest.raises(NablafxError, match="Did you mean 'capture-tcn'") as error:
        nfx.load_experiment(sections={"data": "pair", "model": {"preset": "capture-tnc"}})
    assert "`nablafx list presets` lists them" in str(error.value)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    ("name", "model"), [("train", TrainSettings), ("track", TrackSettings), ("data", LoadingSettings)]
)
def test_every_key_of_a_section_is_documented(name, model):
    described = json.loads(shown(name, "--json"))
    keys = {setting["name"]: setting for setting in described["settings"]}
    assert set(model.model_fields) <= set(keys)
    assert all(setting["doc"] and setting["type"] for setting in keys.values())
    assert all("default" in setting or setting["required"] for setting in keys.values())
    text = shown(name)
    assert all(f"\n  {key} " in text for key in keys)


@pytest.mark.parametrize("name", [*SECTIONS, "sweep"])
def test_every_section_has_an_example_that_can_be_read(name):
    section = sections()[name]
    assert set(read_yaml(section.example, name).value) == {name}
    assert section.example in shown(name)
    assert section.summary in shown("experiment")


def test_the_sections_of_components_list_them():
    assert {"tcn", "lstm"} <= set(json.loads(shown("model", "--json"))["components"])
    assert "weight" in {setting["name"] for setting in json.loads(shown("loss", "--json"))["settings"]}
    assert "pre_emphasis: 0.95" in shown("loss")


def test_an_experiment_is_loaded_from_one_file_or_several(tmp_path):
    (tmp_path / "a.yaml").write_text("data: {name: pair, dry: a.wav, wet: b.wav}\nmodel: tcn\n")
    (tmp_path / "b.yaml").write_text("train: {seed: 7}\n")
    one = nfx.load_experiment(tmp_path / "a.yaml")
    assert one == nfx.load_experiment(str(tmp_path / "a.yaml")) == nfx.load_experiment([tmp_path / "a.yaml"])
    assert nfx.load_experiment([tmp_path / "a.yaml", tmp_path / "b.yaml"]).train.seed == 7
