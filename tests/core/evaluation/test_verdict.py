"""Results are described to the user in words."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from rich.console import Console

from nablafx_core.cli import cli
from nablafx_core.cli.train import PAIR_PRESET
from nablafx_core.config import load_experiment
from nablafx_core.controls import Control
from nablafx_core.data.sources import ArraySource
from nablafx_core.evaluation.shown_progress import shown_progress
from nablafx_core.evaluation.test_folder import score
from nablafx_core.evaluation.verdict import SCALE, advice, verdict
from nablafx_core.interfaces import Recording
from nablafx_core.names import short_name
from nablafx_core.registry.building import build
from nablafx_core.scoring.labels import labels_of_losses
from nablafx_core.training.fit import TrainResult
from reference.places import ROOT


@pytest.mark.parametrize(
    ("esr", "words"),
    [
        (0.0, "ESR 0: very close to the target"),
        (0.0099, "ESR 0.0099: very close to the target (error -20.0 dB)"),
        (0.01, "ESR 0.01: close to the target (error -20.0 dB)"),
        (0.9999, "ESR 0.9999: poor, little better than silence (error -0.0 dB)"),
        (1.0, "ESR 1: worse than silence, whose ESR is 1 (error 0.0 dB)"),
        (53.0, "ESR 53: worse than silence, whose ESR is 1 (error 17.2 dB)"),
        (34_325_514_970.0, "ESR 3.433e+10: the target is nearly silent, or the model is broken (error 105.4 dB)"),
        (float("nan"), "ESR undefined"),
        (float("inf"), "ESR undefined"),
    ],
)
def test_an_esr_in_words(esr, words):
    assert verdict(esr) == words
    assert not words.endswith(".")  # a sentence follows it


def test_the_scale_rises_and_advice_is_for_bad_models():
    assert [bound for bound, _ in SCALE] == sorted(bound for bound, _ in SCALE)
    assert [advice(esr) is None for esr in (0.0, 0.49, 0.5, 53.0, float("nan"))] == [True, True, False, False, True]


def test_a_result_has_a_verdict_only_where_there_is_an_esr():
    result = TrainResult("id", Path(), Path(), {}, {"mae": 0.1})
    assert result.verdict is None
    assert TrainResult("id", Path(), Path(), {}, {"esr": 0.5}).verdict == verdict(0.5)


def test_labels_of_losses_show_settings_that_differ_from_the_defaults():
    sections = {"data": {"name": "reference.tiny:TanhDataset"}, "model": "tcn"}
    losses = ["esr", {"name": "esr", "pre_emphasis": 0.95}, {"name": "mr_stft", "weight": 0.5, "eps": 1e-6}]
    config = load_experiment(sections={**sections, "loss": losses}).config
    assert list(labels_of_losses(config["loss"]).values()) == [
        "esr",
        "esr_2 (pre_emphasis 0.95)",
        "0.5 x mr_stft (eps 1e-06)",
    ]
    gone = [{"name": "no-such-loss", "weight": 1.0, "order": 2}]
    assert labels_of_losses(gone) == {"no-such-loss": "no-such-loss (order 2)"}


def test_a_test_names_the_knobs_and_their_values(tmp_path):
    knobs = (Control("drive", 0, 10, "dB"), Control("mode", positions=("normal", "bright")))
    settings = {"num_blocks": 1, "kernel_size": 2, "channel_width": 2, "conditioning": "film"}
    model = build("model", {"name": "tcn", **settings}, controls=knobs).eval()
    audio = ArraySource(0.1 * torch.randn(2000))
    recordings = [Recording(f"r{drive}", audio, audio, "r", (drive, 1.0), "test", 0, 2000) for drive in (0.25, 0.75)]
    score(model, recordings, {"mae": build("metric", {"name": "mae"})}, tmp_path, media=0)
    written = json.loads((tmp_path / "test.json").read_text())
    assert [(knob["name"], knob["unit"]) for knob in written["controls"]] == [("drive", "dB"), ("mode", "")]
    assert [row["settings"] for row in written["files"]] == [
        {"drive": 2.5, "mode": "bright"},
        {"drive": 7.5, "mode": "bright"},
    ]
    assert [row["settings"]["drive"] for row in written["by_setting"]] == [2.5, 7.5]
    assert written["files"][0]["controls"] == [0.25, 1.0]


def test_progress_is_a_line_at_intervals_without_a_terminal():
    stream, seconds = io.StringIO(), iter([0, 10, 31, 31, 40])
    console = Console(file=stream, force_terminal=False)
    with shown_progress("Testing", console=console, clock=lambda: next(seconds)) as show:
        show(10, 100)
        show(50, 100)  # the clock is read twice
        show(90, 100)
    assert stream.getvalue() == "Testing  50 %\n"


def test_progress_on_a_terminal_is_removed_at_the_end():
    stream = io.StringIO()
    with shown_progress("Testing", console=Console(file=stream, force_terminal=True)) as show:
        show(50, 100)
    assert "Testing" in stream.getvalue()
    assert stream.getvalue().rstrip().endswith("\x1b[2K")


def test_the_default_model_of_two_recordings_is_named():
    said = CliRunner().invoke(cli, ["train", "--help"]).output
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert short_name(PAIR_PRESET) in said
    line = next(line for line in readme.splitlines() if line.startswith("nablafx train --dry"))
    assert line.endswith(f"trains the preset {short_name(PAIR_PRESET)}")
