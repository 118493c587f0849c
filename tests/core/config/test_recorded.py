"""A damaged record of a run's experiment gives an error with advice, and is not changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nablafx_core.config import load_experiment
from nablafx_core.errors import ConfigError
from nablafx_core.runs.recorder import record
from nablafx_core.training.resumable import resumable


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Create a run that was interrupted."""
    monkeypatch.chdir(tmp_path)
    config = load_experiment(sections={"data": "reference.tiny:TanhDataset", "model": "tcn"}).config

    def interrupted(run):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record("train", config, Path("runs"), interrupted)
    return next(Path("runs").iterdir())


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("end", ["", "model:", "kernel_", "loss:", "- name: nablafx-core/mae", "train:", "track:"])
def test_a_truncated_config_gives_an_error_with_advice(folder, end):
    file = folder / "config.yaml"
    text = file.read_text()
    file.write_text(text[: text.index(end)])
    before = contents(folder)
    with pytest.raises(ConfigError) as error:
        resumable("latest", Path("runs"))
    assert str(error.value).startswith(str(file))
    assert "It is the record of the run's experiment. config.json beside it is complete" in str(error.value)
    assert contents(folder) == before
    (folder / "config.json").write_text("{")
    with pytest.raises(ConfigError, match=r"Start a new run from your experiment file\."):
        resumable("latest", Path("runs"))


def test_the_advice_repairs_the_run(folder):
    whole = resumable("latest", Path("runs"))[1].config
    (folder / "config.yaml").write_text("")
    kept = json.loads((folder / "config.json").read_text())
    del kept["seed"]
    (folder / "config.yaml").write_text(json.dumps(kept, indent=2))
    assert resumable("latest", Path("runs"))[1].config == whole
