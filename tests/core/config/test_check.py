"""Values of options are never interpreted as YAML, shell syntax or formulas."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest
import torch
from click.testing import CliRunner

from nablafx_core.audio import reading as files
from nablafx_core.cli import cli
from nablafx_core.config import load_experiment
from nablafx_core.errors import ConfigError
from nablafx_core.pictures.figure import picture
from nablafx_core.runs.recorder import record
from nablafx_core.shell import command
from nablafx_core.training.resumable import resumable

NAMES = [
    "runs #2",
    "# 2",
    "[x]",
    "{a: 1}",
    "a: b",
    "'q'",
    '"',
    "-x",
    "--x",
    "@x",
    "~x",
    "&a",
    "*",
    "!x",
    "%s {x}",
    "007",
    "null",
    "yes",
    "1e3",
    "end ",
    " start",
    "new\nline",
    "a\tb",
    "$HOME $x$",
    "[red]x[/red]",
    "ü \N{SNOWMAN}",
]


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """Create a file in a separate folder and enter the folder."""
    monkeypatch.chdir(tmp_path)
    Path("e.yaml").write_text("data: reference.tiny:TanhDataset\nmodel: tcn\n")
    Path("model.nfx").write_text("")
    return "e.yaml"


def run(*words):
    result = CliRunner().invoke(cli, [*words], catch_exceptions=False)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("name", NAMES)
def test_a_test_is_recorded_in_the_given_folder(experiment, monkeypatch, name):
    seen = []

    def record_test(source, experiment, *_, **__):
        seen.append(experiment.track.runs_dir)
        raise SystemExit(0)

    monkeypatch.setattr("nablafx_core.evaluation.record_test.record_test", record_test)
    run("test", "model.nfx", experiment, f"--runs-dir={name}")
    assert seen == [name]


@pytest.mark.parametrize("name", NAMES)
def test_a_training_gets_the_paths_as_written(experiment, monkeypatch, name):
    seen = []

    def run_training(experiment, *_):
        seen.append(experiment.config)
        raise SystemExit(0)

    monkeypatch.setattr("nablafx_core.cli.train.run_training", run_training)
    run("train", experiment, f"--runs-dir={name}", f"--init={name}")
    run("train", f"--dry={name}", f"--wet={name}.wav", f"--runs-dir={name}")
    assert (seen[0]["track"]["runs_dir"], seen[0]["train"]["init"]) == (name, name)
    assert (seen[1]["data"]["dry"], seen[1]["data"]["wet"], seen[1]["track"]["runs_dir"]) == (name, f"{name}.wav", name)


@pytest.mark.parametrize("name", NAMES)
def test_a_run_is_resumed_in_the_given_folder(experiment, name):
    config = load_experiment([experiment]).config

    def interrupted(run):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record("train", config, Path(name), interrupted)
    assert resumable("latest", Path(name))[1].track.runs_dir == name


@pytest.mark.parametrize("name", NAMES)
def test_a_printed_command_can_be_copied_into_a_shell(name):
    words = ["train", "--resume", name, "--runs-dir", name]
    assert shlex.split(command("train", "--resume", name, runs_dir=name)) == ["nablafx", *words]
    shown = command("train", name).replace(
        "nablafx", f"{sys.executable} -c 'import sys, json; print(json.dumps(sys.argv))'"
    )
    said = subprocess.run(["sh", "-c", shown], capture_output=True, text=True, check=True).stdout
    assert json.loads(said)[1:] == ["train", name]


def test_the_default_folder_is_not_written_out():
    assert command("train", runs_dir="runs") == "nablafx train"
    assert command("train", runs_dir="runs 2") == "nablafx train --runs-dir 'runs 2'"


@pytest.mark.parametrize("name", [*NAMES, "1 # one", "\udcff\udce9", "x: y", "2024-01-01", "a: 1\nb: 2", "~", "|", ">"])
def test_an_override_of_a_setting_that_is_text_is_taken_as_written(experiment, name):
    loaded = load_experiment([experiment], [f"track.runs_dir={name}"])
    assert loaded.track.runs_dir == {"'q'": "q"}.get(name, name)


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
@pytest.mark.parametrize(
    "name", ["\udcff\udce9.wav", "x: y.wav", "a\tb.wav", "007", "[x]", "{a: 1}", "a #2.wav", "yes", " a "]
)
def test_a_path_of_a_dataset_is_taken_as_written(experiment, name):
    audio = torch.rand(1, 48_000) - 0.5
    files.write("dry.wav", audio, 48_000)
    files.write("wet.wav", audio.tanh(), 48_000)
    os.rename("wet.wav", name)
    result = CliRunner().invoke(cli, ["data", "pair", "dry=dry.wav", f"wet={name}", "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["recordings"][0]["name"] == Path(name).stem


@pytest.mark.parametrize("value", ["1 # one", "[1", "1: 2", "\udcff"])
def test_an_override_that_is_not_yaml_fails_a_number_and_says_why(experiment, value):
    with pytest.raises(ConfigError, match="(?s)train.seed: .*, not .*(this is not YAML|begins a comment in YAML)"):
        load_experiment([experiment], [f"train.seed={value}"])


def test_values_of_other_types_are_yaml_as_before(experiment):
    overrides = [
        "train.seed=7",
        "train.learning_rate=1e-3",
        "metrics=[esr]",
        "train.init=null",
        "data.name=reference.tiny:TanhDataset",
    ]
    loaded = load_experiment([experiment], overrides)
    assert (loaded.train.seed, loaded.train.learning_rate, loaded.train.init) == (7, 1e-3, None)
    assert [metric["name"] for metric in loaded.config["metrics"]] == ["nablafx-core/esr"]


@pytest.mark.parametrize(("value", "expected"), [("'runs #2'", "runs #2"), ("runs#2", "runs#2"), ('"#"', "#")])
def test_an_override_may_contain_an_equals_sign(experiment, value, expected):
    assert load_experiment([experiment], [f"track.runs_dir={value}"]).track.runs_dir == expected


@pytest.mark.pictures
def test_a_name_in_a_picture_is_not_a_formula(tmp_path):
    with picture(tmp_path / "a.png", 2) as figure:
        axis = figure.add_subplot()
        axis.plot([0, 1], label="$x_{$")
        axis.legend()
        axis.set_xlabel("$\\frac{$")
    assert (tmp_path / "a.png").stat().st_size > 0
    assert matplotlib.rcParams["text.parse_math"]
