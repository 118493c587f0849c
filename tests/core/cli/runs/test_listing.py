"""`nablafx runs` shows the content of run folders, to users and to programs."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest
from click.testing import CliRunner

from nablafx_core.cli.runs import runs
from nablafx_core.errors import RunError
from nablafx_core.runs.recorder import record

CONFIG = {"model": {"name": "tcn"}, "data": {"name": "tonetwist", "device": "TS9"}, "train": {"max_steps": 7}}


def body(run):
    for step, value in enumerate((math.nan, 0.5, 0.25, 0.75)):
        run.log("train/loss", value, step)
    run.summary({"test/esr": 0.0123, "test/mr_stft": math.inf})


@pytest.fixture
def runs_dir(tmp_path):
    record("train", CONFIG, tmp_path, body, "good")
    with pytest.raises(ValueError, match="lost"):
        record("test", {}, tmp_path, lambda run: (_ for _ in ()).throw(ValueError("lost it\nand more")), "bad")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "run.json").write_text('{"stat')
    return tmp_path


def invoke(*arguments):
    result = CliRunner().invoke(runs, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_list_shows_each_run_with_its_figures_and_errors(runs_dir):
    header, *rows = (line.split() for line in invoke("--runs-dir", runs_dir).splitlines())
    by_id = {row[0]: row[1:] for row in rows}
    assert header == [
        "ID",
        "STATUS",
        "COMMAND",
        "MODEL",
        "DATA",
        "STEP",
        "ESR",
        "MR_STFT",
        "AGE",
        "NOTE",
        "OR",
        "ERROR",
    ]
    assert by_id["good"][:7] == ["COMPLETED", "train", "tcn", "tonetwist/TS9", "3", "0.0123", "inf"]
    assert by_id["bad"][:2] == ["FAILED", "test"]
    assert by_id["bad"][-3:] == ["ValueError:", "lost", "it"]
    assert by_id["torn"][:4] == ["DAMAGED", "run.json", "is", "damaged:"]


def test_the_list_as_json_is_strict_json(runs_dir):
    def refuse(constant):
        raise AssertionError(constant)

    listed = json.loads(invoke("--runs-dir", runs_dir, "--json"), parse_constant=refuse)
    by_id = {one["id"]: one for one in listed}
    assert set(by_id) == {"good", "bad", "torn"}
    good = by_id["good"]
    assert (good["status"], good["model"], good["data"], good["device"]) == ("COMPLETED", "tcn", "tonetwist", "TS9")
    assert good["step"] == 3
    assert good["summary"] == {"test/esr": 0.0123, "test/mr_stft": None}
    assert by_id["torn"]["damage"]
    shown = json.loads(invoke("show", "good", "--runs-dir", runs_dir, "--json"), parse_constant=refuse)
    assert shown["metrics"] == {"train/loss": {"steps": [0, 1, 2, 3], "values": [None, 0.5, 0.25, 0.75]}}
    assert shown["config"] == CONFIG


def test_show_prints_experiment_figures_and_machine(runs_dir):
    text = invoke("--runs-dir", runs_dir, "show", "good")
    lines = [line.split() for line in text.splitlines()]
    for line in (
        ["status", "COMPLETED"],
        ["device:", "TS9"],
        ["test/esr", "0.0123"],
        ["train/loss", "4", "3", "0.75", "0.25"],
    ):
        assert line in lines
    assert "nablafx-core" in text
    for trouble, sign in (("bad", "lost it"), ("torn", "run.json is damaged")):
        assert sign in invoke("show", trouble, "--runs-dir", runs_dir)


def test_missing_runs_are_an_error(tmp_path):
    assert invoke("--runs-dir", tmp_path / "none") == f"No runs in {tmp_path / 'none'}.\n"
    with pytest.raises(RunError, match="there is no run 'x'"):
        invoke("show", "x", "--runs-dir", tmp_path)


def test_listing_imports_neither_torch_nor_sacred(runs_dir):
    code = (
        "import sys; from nablafx_core.cli.runs import runs\n"
        f"runs(['--runs-dir', {str(runs_dir)!r}], standalone_mode=False)\n"
        "heavy = {'torch', 'sacred', 'numpy', 'lightning', 'pymongo', 'matplotlib'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or None)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
