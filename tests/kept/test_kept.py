"""Bundles and runs of earlier versions are read and give the same output. See docs/compatibility.md."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from nablafx_core import load
from nablafx_core.bundles.bundle import describe_bundle
from nablafx_core.cli import cli
from nablafx_core.runs.records import RunRecord
from nablafx_core.runs.rows import Row

HERE = Path(__file__).parent
VERSIONS = sorted(folder for folder in HERE.iterdir() if (folder / "outputs.npz").exists())
BUNDLES = [bundle for folder in VERSIONS for bundle in sorted(folder.glob("*.nfx"))]
RUNS = [run for folder in VERSIONS for run in sorted((folder / "runs").iterdir())]

#: Largest difference in float32 between processors and versions of torch.
TOLERANCE = 1e-5


def named(path):
    return path.relative_to(HERE).as_posix()


def test_the_first_version_is_kept():
    assert "0.1" in [folder.name for folder in VERSIONS]
    assert [bundle.stem for bundle in BUNDLES if bundle.parent.name == "0.1"] == ["gcn", "graybox", "lstm", "s4", "tcn"]


@pytest.mark.parametrize("bundle", BUNDLES, ids=named)
def test_a_bundle_renders_what_it_rendered(bundle):
    outputs = np.load(bundle.parent / "outputs.npz")
    assert describe_bundle(bundle)["info"]["written by"].startswith(bundle.parent.name)
    with torch.no_grad():
        found = load(bundle)(torch.from_numpy(outputs["dry"])[None, None])[0][0, 0].numpy()
    expected = outputs[bundle.stem]
    assert np.abs(expected).max() > 1e-3
    assert np.abs(found - expected).max() < TOLERANCE * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("run", RUNS, ids=named)
def test_a_run_is_read(run):
    record = RunRecord.read(run)
    assert (record.status, record.command, record.damage) == ("COMPLETED", "train", None)
    row = Row.of(record)
    assert (row.model, row.data, row.step, row.host) == ("lstm", "nablafx_core.testing.tiny:TinyData", 4, "studio")
    assert set(record.summary) >= {"test/esr", "validation/loss"}
    assert record.metrics["validation/loss"].steps == [2, 4]
    assert record.config["train"]["max_steps"] == 4
    assert record.packs[0]["name"] == "nablafx-core"


@pytest.mark.parametrize("run", RUNS, ids=named)
def test_a_run_is_listed_shown_and_tested(run, tmp_path, monkeypatch):
    shutil.copytree(run, tmp_path / "runs" / run.name)
    monkeypatch.chdir(tmp_path)
    listed = CliRunner().invoke(cli, ["runs", "--where", "model.name=lstm and step=4", "--json"])
    assert [one["id"] for one in json.loads(listed.stdout)] == [run.name]
    assert "validation/loss" in CliRunner().invoke(cli, ["runs", "show", run.name]).stdout
    before = RunRecord.read(run).summary
    tested = CliRunner().invoke(cli, ["test", run.name, "--json"])
    assert tested.exit_code == 0, tested.output
    figures = json.loads(tested.stdout)["test"]
    assert figures == pytest.approx({name: before[f"test/{name}"] for name in figures}, rel=1e-3)
