"""Losses and metrics never receive signals that are too short, and none of them causes a trained model to be lost."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import nablafx_core as nfx
from nablafx_core.config import load_experiment
from nablafx_core.errors import ConfigError, DataError
from nablafx_core.interfaces import Loss, Metric
from nablafx_core.runs.records import find_run, list_runs
from nablafx_core.training.fit import TrainResult, _Training, train
from nablafx_core.training.task import chunk_cuts, chunk_length

pytestmark = pytest.mark.slow

HERE = "tests.core.training.test_lengths"
LSTM = {"name": "lstm", "hidden_size": 4}
TCN = {"name": "tcn", "num_blocks": 2, "kernel_size": 3, "dilation_growth": 2, "channel_width": 4}


class Undeclared(Loss):
    """Loss that needs 301 samples without declaring it."""

    def forward(self, prediction, target):
        error = torch.nn.functional.pad(prediction - target, (300, 300), mode="reflect")
        return error.abs().mean(dim=(1, 2))


class Refusing(Loss):
    """Loss that fails in each validation, but not before the first step."""

    trained = False

    def forward(self, prediction, target):
        if torch.is_grad_enabled():
            Refusing.trained = True
        elif Refusing.trained:
            raise ValueError("no such luck")
        return (prediction - target).abs().mean(dim=(1, 2))


class Delta(Metric):
    """Metric that needs 50 samples, which is not allowed."""

    def statistics(self, prediction, target):
        difference = (prediction - target).double()
        return difference.unfold(-1, 50, 50)[..., 0].abs().sum(dim=(1, 2)).unsqueeze(1)

    def value(self, sums):
        return float(sums[0])


@pytest.fixture(autouse=True)
def untested(monkeypatch):
    """Train only: no test of the best model and no figures."""

    def finish(self, run, best, *rest):
        return TrainResult(run.id, run.folder, best.path, best.best, {})

    monkeypatch.setattr(_Training, "_finish", finish)


def sections(folder, loss="mr_stft", model=TCN, data=None, metrics=("esr",), **settings):
    return {
        "data": {"name": "reference.tiny:TanhDataset", "segment_length": 2048, "batch_size": 2, **(data or {})},
        "model": dict(model),
        "loss": [loss],
        "metrics": list(metrics),
        "train": {"max_steps": 4, "validate_every": 2, "accelerator": "cpu", "warm_up": 100, **settings},
        "track": {"runs_dir": str(folder / "runs")},
    }


def prepared(*arguments, **named):
    return _Training(load_experiment(sections=sections(*arguments, **named)), [], print, None)


@pytest.mark.parametrize("rest", [1, 500, 1024, 1025])
def test_no_length_of_a_validation_recording_ends_a_training(tmp_path, rest):
    data = prepared(tmp_path, data={"samples": 5 * 2048 + rest}).data
    lengths = [batch.wet.shape[-1] for batch in data.val_dataloader()]
    assert min(lengths) >= 1025
    assert sum(batch.wet.numel() for batch in data.val_dataloader()) == sum(r.num_samples for r in data.validation)
    if rest == 500:
        result = train(sections(tmp_path, data={"samples": 5 * 2048 + rest}))
        assert math.isfinite(result.validation["loss"])


def test_the_undeclared_length_that_a_loss_needs_is_found(tmp_path):
    training = prepared(tmp_path, f"{HERE}:Undeclared", data={"samples": 3 * 2048 + 20})
    assert training.data.min_samples == 301
    assert sorted({batch.wet.shape[-1] for batch in training.data.val_dataloader()}) == [2048, 2068]


@given(st.integers(1, 400), st.integers(1, 100), st.integers(0, 60), st.integers(1, 50))
def test_chunks_cover_the_segment_and_each_can_be_used(time, length, latency, min_samples):
    time += latency + min_samples
    cuts = chunk_cuts(time, length, latency, min_samples)
    assert cuts[0] == 0
    assert cuts[-1] == time
    assert cuts == sorted(set(cuts))
    outputs = [stop - max(start, latency) for start, stop in pairwise(cuts) if stop > latency]
    assert sum(outputs) == time - latency
    assert min(outputs) >= min_samples
    if min_samples == 1:
        assert cuts == [*range(0, time, length), time]


def test_chunks_too_short_for_the_loss_are_joined(tmp_path):
    """2048 is split into 1100 and 948, and 948 is too short."""
    settings = {"tbptt": 1100, "max_steps": 3, "validate_every": 3}
    result = train(sections(tmp_path, model=LSTM, **settings))
    assert find_run(tmp_path / "runs", result.id).last_step == 3
    assert chunk_cuts(2048, 1100, 0, 1025) == [0, 2048]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"data": {"segment_length": 1024}}, "data.segment_length is 1,024 samples, but the loss 'mr_stft' needs at l"),
        ({"model": LSTM, "tbptt": 512}, r"train.tbptt is 512 samples, .* Set train.tbptt to 1025 or more"),
        (
            {"model": {**TCN, "causal": False}, "data": {"segment_length": 1027}, "tbptt": 1026},
            r"1,027 samples, of which 3 are the model's latency, .* Set data.segment_length to 1028 or more",
        ),
        ({"loss": f"{HERE}:Undeclared", "data": {"segment_length": 256}}, "Undeclared' failed on a training signal of"),
        (
            {"metrics": [f"{HERE}:Delta"], "data": {"samples": 4096 + 30}, "loss": "l1"},
            "Delta' failed on a signal of 30",
        ),
    ],
)
def test_lengths_that_cannot_work_are_rejected_before_a_run_is_created(tmp_path, wrong, message):
    with pytest.raises(ConfigError, match=message):
        train(sections(tmp_path, **wrong))
    assert list_runs(tmp_path / "runs") == []


def test_only_too_short_validation_recordings_are_an_error(tmp_path):
    short = {"name": "reference.tiny:TanhDataset", "samples": 2200, "split": "time", "validation": 0.3}
    with pytest.raises(DataError, match="longest validation recording"):
        train(sections(tmp_path, data={**short, "segment_length": 1030}))


def test_auto_is_as_long_as_the_loss_needs(tmp_path):
    settings = load_experiment(sections=sections(tmp_path, model=LSTM)).train
    model = nfx.build("model", LSTM)
    assert chunk_length(model, settings) == model.default_tbptt
    assert chunk_length(model, settings, 10**5) == 10**5


def test_a_failing_first_validation_keeps_the_weights(tmp_path, caplog):
    Refusing.trained = False
    with pytest.raises(ValueError, match="no such luck"):
        train(sections(tmp_path, f"{HERE}:Refusing"))
    found = find_run(tmp_path / "runs", "latest")
    assert found.status == "FAILED"
    assert "weights of step 2" in caplog.text
    assert str(found.folder / "model.nfx") in caplog.text
    Refusing.trained = False
    again = load_experiment(sections=sections(tmp_path, "l1", init=str(found.folder)))
    fresh = load_experiment(sections=sections(tmp_path, "l1"))
    weights = [_Training(each, [], print, None).model.state_dict() for each in (again, fresh)]
    assert any(not torch.equal(value, weights[1][name]) for name, value in weights[0].items())
