"""Training follows the experiment, and is reproducible, also after it was killed."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from lightning import Callback

import nablafx_core as nfx
from nablafx_core.config import load_experiment
from nablafx_core.errors import ConfigError, NablafxError, RunError, TrainingError
from nablafx_core.runs.recorder import record
from nablafx_core.runs.records import find_run, list_runs
from nablafx_core.scoring.losses import L1, WeightedLoss
from nablafx_core.training.fit import train
from nablafx_core.training.prepared import prepared_data, prepared_model
from nablafx_core.training.resumable import resumable
from nablafx_core.training.task import TrainingTask
from reference.waiting import PATIENCE

pytestmark = pytest.mark.slow

TCN = {"name": "tcn", "num_blocks": 2, "kernel_size": 3, "dilation_growth": 2, "channel_width": 4}
LSTM = {"name": "lstm", "hidden_size": 4}


def sections(tmp_path, model=None, data=None, train=None):
    return {
        "data": {"name": "reference.tiny:TanhDataset", "segment_length": 2048, "batch_size": 2, **(data or {})},
        "model": dict(model or TCN),
        "loss": [{"name": "l1"}],
        "metrics": ["esr"],
        "train": {"max_steps": 12, "validate_every": 4, "accelerator": "cpu", "warm_up": 100, **(train or {})},
        "track": {"runs_dir": str(tmp_path / "runs")},
    }


def weights(bundle):
    return nfx.load(bundle).state_dict()


def same(first, second):
    return all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.pictures
def test_a_run_leaves_all_its_files(tmp_path):
    result = train(sections(tmp_path, train={"max_steps": 60, "validate_every": 20, "learning_rate": 0.02}))
    record = find_run(tmp_path / "runs", result.id)
    assert record.status == "COMPLETED"
    for name in ("config.yaml", "model.nfx", "test.json", "checkpoints/last.ckpt", "pictures/losses.png"):
        assert (result.folder / name).stat().st_size > 0, name
    assert list((result.folder / "pictures").glob("r5*.png"))
    assert list((result.folder / "audio").glob("r5*.prediction.wav"))
    assert {name.partition("/")[0] for name in record.artifacts} == {"model.nfx", "test.json", "pictures", "audio"}
    logged = [json.loads(line) for line in (result.folder / "metrics.jsonl").read_text().splitlines()]
    steps = [row["step"] for row in logged if row["name"] == "validation/loss"]
    assert steps == [20, 40, 60]
    losses = [row["value"] for row in logged if row["name"] == "validation/loss"]
    assert losses[-1] < 0.7 * losses[0]
    assert result.validation["loss"] == min(losses)
    assert 0 < result.test["esr"] < 0.5


def test_the_printed_config_gives_the_same_weights_bit_for_bit(tmp_path):
    first = train(sections(tmp_path))
    printed = tmp_path / "printed.yaml"
    printed.write_text(load_experiment(sections=sections(tmp_path)).to_yaml())
    second = train(printed)
    assert first.id != second.id
    assert same(weights(first.bundle), weights(second.bundle))
    other = train(sections(tmp_path, train={"seed": 43}))
    assert not same(weights(first.bundle), weights(other.bundle))


@pytest.mark.parametrize("model", [TCN, LSTM], ids=["tcn", "lstm"])
def test_killed_and_resumed_equals_uninterrupted(forked, tmp_path, model):
    """After SIGKILL between two checkpoints, a resume from the last one gives the same bits."""
    whole = train(sections(tmp_path, model, train={"tbptt": 512 if model is LSTM else None}))
    killed = sections(tmp_path, model, train={"tbptt": 512 if model is LSTM else None})
    killed["track"]["runs_dir"] = str(tmp_path / "killed")
    file = tmp_path / "killed.yaml"
    file.write_text(load_experiment(sections=killed).to_yaml())
    script = (
        "import os, signal, sys, torch, lightning\n"
        "torch.set_num_threads(1)\n"
        "class Kill(lightning.Callback):\n"
        "    def on_train_batch_end(self, trainer, *rest):\n"
        "        if trainer.global_step >= 7: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from nablafx_core.training.fit import train\n"
        f"train({str(file)!r}, callbacks=[Kill()])\n"
    )
    done = forked.run(["-c", script], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    killed = find_run(tmp_path / "killed", "latest")
    assert killed.status == "DIED"
    run_id, experiment = resumable("latest", tmp_path / "killed")
    resumed = train(experiment, resume=run_id)
    assert resumed.id == killed.id
    assert find_run(tmp_path / "killed", run_id).status == "COMPLETED"
    assert same(last_weights(whole), last_weights(resumed))
    assert resumed.validation == whole.validation
    with pytest.raises(RunError, match="finished"):
        resumable(run_id, tmp_path / "killed")


def test_a_run_of_another_command_is_not_resumed(tmp_path):
    config = load_experiment(sections=sections(tmp_path)).config

    def fails(run):
        raise LookupError

    with pytest.raises(LookupError):
        record("test", config, tmp_path, fails, run_id="20260101-failed-test-0000")
    for key in ("20260101-failed-test-0000", "latest"):
        with pytest.raises(RunError, match="nablafx test"):
            resumable(key, tmp_path)


def checkpoint_of(result):
    return torch.load(result.folder / "checkpoints/last.ckpt", weights_only=True)


def last_weights(result):
    return checkpoint_of(result)["state_dict"]


class Rates(Callback):
    """Return the learning rate of every step."""

    def __init__(self):
        self.rates = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.rates.append(optimizer.param_groups[0]["lr"])


@pytest.mark.parametrize(("tbptt", "max_steps", "every"), [(512, 42, 5), (None, 7, 3), (500, 42, 1000)])
def test_a_training_makes_exactly_its_steps_and_the_cosine_ends_with_them(tmp_path, tbptt, max_steps, every):
    """2048 samples are 4 or 5 chunks, so the last step is inside a batch."""
    rates = Rates()
    settings = {"tbptt": tbptt, "max_steps": max_steps, "validate_every": every, "lr_schedule": "cosine"}
    result = train(sections(tmp_path, LSTM, train={**settings, "lr_warm_up": 0}), callbacks=[rates])
    run = find_run(tmp_path / "runs", result.id)
    per_batch = 1 if tbptt is None else math.ceil(2048 / tbptt)
    ends = [min(end, max_steps) for end in range(per_batch, max_steps + per_batch, per_batch)]
    due = [end for before, end in pairwise([0, *ends]) if end // every > before // every or end == max_steps]
    assert run.metrics["validation/loss"].steps == due
    assert run.last_step == max_steps == checkpoint_of(result)["global_step"]
    expected = [0.0025 * (1 + math.cos(math.pi * step / max_steps)) for step in range(max_steps)]
    assert rates.rates == pytest.approx(expected)
    assert run.metrics["learning_rate"].values[-1] == pytest.approx(expected[-1])
    assert expected[-1] > 0


@pytest.mark.parametrize("limit", [{"max_steps": 3}, {"max_steps": None, "max_minutes": 0.001}])
def test_no_callback_can_undo_the_end_of_a_training(tmp_path, limit):
    """``should_stop = figure < 0.05`` is what many write; it assigns False after each validation."""

    class GoodEnough(Callback):
        def on_validation_end(self, trainer, task):
            assert trainer.global_step < 100, "it does not end"
            trainer.should_stop = task.validation["esr"] < 0.0

    train(sections(tmp_path, TCN, train={"validate_every": 1000, **limit}), callbacks=[GoodEnough()])
    (run,) = list_runs(tmp_path / "runs")
    assert run.status == "COMPLETED"


def test_chunks_of_a_stream_equal_the_whole_segment():
    """The joined predictions of truncated training equal the offline output, and the targets the wet signal."""
    torch.manual_seed(0)
    model = nfx.build("model", {**TCN, "causal": False})
    settings = load_experiment(sections=sections(Path())).train
    task = TrainingTask(model, WeightedLoss([("l1", 1.0, L1())]), settings, {})
    context, time = model.receptive_field - 1 + model.latency, 700
    dry, wet = torch.randn(2, 1, context + time), torch.randn(2, 1, time)
    from nablafx_core.data.segments import Batch

    batch = Batch(dry, wet, torch.zeros(2, 0), torch.tensor([0, 9]), ("a", "b"))
    predictions, targets = zip(*task._chunks(batch, 256), strict=True)
    expected = model(dry)[0][..., context : context + time - model.latency]
    torch.testing.assert_close(torch.cat(predictions, -1), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.cat(targets, -1), wet[..., : time - model.latency])


def test_knobs_come_from_the_data(tmp_path):
    film = {**TCN, "conditioning": "film"}
    result = train(sections(tmp_path, film, data={"knobs": 2}))
    model = nfx.load(result.folder)
    assert [control.name for control in model.controls] == ["drive", "level"]
    assert model.controls[0].maximum == 10.0
    by_setting = json.loads((result.folder / "test.json").read_text())["by_setting"]
    assert by_setting[0]["controls"] == [1.0, 0.0]


def test_knobs_without_conditioning_are_refused(tmp_path):
    with pytest.raises(NablafxError, match="conditioning"):
        train(sections(tmp_path, data={"knobs": 1}))


def test_another_sample_rate_is_refused(tmp_path):
    asked = sections(tmp_path, {**TCN, "sample_rate": 44100})
    assert load_experiment(sections=asked).config["data"]["sample_rate"] == 44100  # data that can have any rate
    with pytest.raises(ConfigError, match="44100"):
        train({**asked, "data": {**asked["data"], "sample_rate": 48000}})


def test_fine_tuning_starts_from_the_weights(tmp_path):
    first = train(sections(tmp_path))
    again = sections(tmp_path, train={"init": str(first.bundle)})
    experiment = load_experiment(sections=again)
    model = prepared_model(experiment, prepared_data(experiment))
    assert same(weights(first.bundle), model.state_dict())
    with pytest.raises(ConfigError, match="do not fit"):
        train(sections(tmp_path, {**TCN, "channel_width": 5}, train={"init": str(first.folder)}))


def test_a_nan_loss_stops_the_training(tmp_path):
    broken = sections(tmp_path, train={"learning_rate": 1e30, "gradient_clip_val": None, "max_steps": 40})
    with pytest.raises(TrainingError, match="step"):
        train(broken)
    assert find_run(tmp_path / "runs", "latest").status == "FAILED"


def test_the_time_limit_ends_with_a_validation(tmp_path):
    result = train(sections(tmp_path, train={"max_steps": 100_000, "max_minutes": 0.02, "validate_every": 100_000}))
    assert result.validation["loss"] > 0
    assert result.test


def test_early_stopping_and_the_plateau(tmp_path):
    frozen = {
        "learning_rate": 1e-7,
        "lr_factor": 1e-3,
        "weight_decay": 0.0,
        "max_steps": 80,
        "early_stopping_patience": 4,
        "lr_patience": 1,
    }
    result = train(sections(tmp_path, train=frozen))
    logged = [json.loads(line) for line in (result.folder / "metrics.jsonl").read_text().splitlines()]
    rates = [row["value"] for row in logged if row["name"] == "learning_rate"]
    assert len(rates) < 20
    assert rates[-1] < 0.1 * rates[0]


def test_the_cosine_schedule_rises_and_ends_at_zero(tmp_path):
    settings = {"lr_schedule": "cosine", "lr_warm_up": 20, "learning_rate": 0.01, "max_steps": 40, "validate_every": 10}
    result = train(sections(tmp_path, train=settings))
    logged = [json.loads(line) for line in (result.folder / "metrics.jsonl").read_text().splitlines()]
    rates = [row["value"] for row in logged if row["name"] == "learning_rate"]
    expected = [0.005 * min(1, (step + 1) / 20) * (1 + math.cos(math.pi * step / 40)) for step in (9, 19, 29, 39)]
    assert rates == pytest.approx(expected)


def test_two_processes_make_one_run(forked, tmp_path):
    """Lightning's own strategy; the second process trains its own batches and records nothing."""
    file = tmp_path / "ddp.yaml"
    several = {"devices": 2, "strategy": "ddp", "threads": 1}
    file.write_text(load_experiment(sections=sections(tmp_path, train=several)).to_yaml())
    script = tmp_path / "script.py"
    script.write_text(f"from nablafx_core.training.fit import train\nprint(train({str(file)!r}).id)\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = forked.run([script], env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    records = list_runs(tmp_path / "runs")
    assert [record.status for record in records] == ["COMPLETED"]
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [records[0].id]
    assert records[0].metrics["validation/loss"].steps == [4, 8, 12]
    alone = train(sections(tmp_path / "alone"))
    assert not same(weights(alone.bundle), weights(records[0].folder))  # it saw the other process's gradients


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"data": {"knobs": 1}}, "conditioning"),
        ({"data": {"segment_length": 10**6}}, "segment_length"),
        ({"train": {"tbptt": 512, "init": "nowhere.nfx"}}, "no such file"),
    ],
)
def test_errors_are_found_before_a_run_is_created(tmp_path, wrong, message):
    with pytest.raises(NablafxError, match=message):
        train(sections(tmp_path, **wrong))
    assert list_runs(tmp_path / "runs") == []


def test_missing_hardware_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="do not work on this machine"):
        train(sections(tmp_path, train={"strategy": "nope"}))
    assert find_run(tmp_path / "runs", "latest").status == "FAILED"
