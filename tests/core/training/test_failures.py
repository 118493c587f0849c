"""Errors during a training name their place, and earlier files are kept."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from lightning import Callback

import nablafx_core as nfx
from nablafx_core.config import load_experiment
from nablafx_core.errors import DataError, TrainingError
from nablafx_core.interfaces import Loss
from nablafx_core.runs.records import find_run, list_runs
from nablafx_core.training.failures import disk_explained, memory_explained
from nablafx_core.training.fit import train
from nablafx_core.training.resumable import resumable
from reference.forked import NABLAFX
from reference.full_disk import full_disk
from reference.waiting import PATIENCE, until

pytestmark = pytest.mark.slow

TCN = {"name": "tcn", "num_blocks": 2, "kernel_size": 3, "dilation_growth": 2, "channel_width": 4}


def sections(tmp_path, loss="l1", data=None, **settings):
    return {
        "data": {"name": "reference.tiny:TanhDataset", "segment_length": 2048, "batch_size": 4, **(data or {})},
        "model": dict(TCN),
        "loss": [{"name": loss}],
        "metrics": ["esr"],
        "train": {"max_steps": 24, "validate_every": 8, "accelerator": "cpu", **settings},
        "track": {"runs_dir": str(tmp_path / "runs")},
    }


def checkpoint(folder):
    return torch.load(folder / "checkpoints/last.ckpt", weights_only=True)


class BreaksFor(Loss):
    """L1 that is NaN for one item of the batch, in the 13th training step."""

    calls = 0

    def forward(self, prediction, target):
        values = (prediction - target).abs().mean(dim=(1, 2))
        if torch.is_grad_enabled():
            BreaksFor.calls += 1
            if BreaksFor.calls == 13:
                values = torch.where(torch.arange(len(values)) == 2, torch.nan, values)
        return values


class Remember(Callback):
    """The dry signals of the batches, in order."""

    def __init__(self):
        self.batches = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.batches.append(batch)


@pytest.mark.parametrize("tbptt", [None, 1024])
def test_the_error_about_a_nan_loss_names_step_and_input(tmp_path, tbptt):
    BreaksFor.calls = 0
    seen = Remember()
    experiment = load_experiment(
        sections=sections(tmp_path, "tests.core.training.test_failures:BreaksFor", tbptt=tbptt)
    )
    with pytest.raises(TrainingError, match=r"NaN or infinite at step 13, for r\d \(samples") as error:
        train(experiment, callbacks=[seen])
    found = find_run(tmp_path / "runs", "latest")
    assert found.status == "FAILED"
    name, start, stop = (
        str(error.value).split("for ")[1].split(" (samples ")[0],
        *(int(n.replace(",", "")) for n in str(error.value).split("(samples ")[1].split(")")[0].split(" to ")),
    )
    number = 12 if tbptt is None else 6  # two steps a batch
    dry = 0.3 * torch.randn(12000, generator=torch.Generator().manual_seed(int(name[1:])))
    assert torch.equal(seen.batches[number].dry[2, 0, -2048:], dry[start:stop])
    assert checkpoint(found.folder)["global_step"] == 8
    assert all(weight.isfinite().all() for weight in checkpoint(found.folder)["state_dict"].values())
    assert nfx.load(found.folder)(torch.randn(1, 1, 100))[0].isfinite().all()
    assert f"--init {found.folder}" in str(error.value)


class BreakWeights(Callback):
    """Callback that makes the weights infinite after a step, as an exploding gradient does."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == self.step:
            with torch.no_grad():
                next(pl_module.model.parameters()).fill_(torch.nan)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (10, "NaN or infinite at step 11, for all 4 segments of its batch"),
        (16, "validation loss was NaN or infinite at step 16"),
    ],
)
def test_broken_weights_never_reach_a_checkpoint(tmp_path, step, message):
    with pytest.raises(TrainingError, match=message):
        train(sections(tmp_path), callbacks=[BreakWeights(step)])
    folder = find_run(tmp_path / "runs", "latest").folder
    assert checkpoint(folder)["global_step"] == 8
    assert all(weight.isfinite().all() for weight in nfx.load(folder).state_dict().values())


def test_a_batch_that_does_not_fit_in_memory_is_explained(tmp_path):
    """The allocator itself fails, because no machine has an exabyte."""

    class Greedy(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if trainer.global_step == 10:
                torch.empty(2**58, dtype=torch.float32)

    message = (
        r"not enough memory for a batch of 4 segments of 2,048 samples with \d+ before each. Lower data.batch_size"
    )
    with pytest.raises(TrainingError, match=message):
        train(sections(tmp_path), callbacks=[Greedy()])
    found = find_run(tmp_path / "runs", "latest")
    assert found.status == "FAILED"
    assert checkpoint(found.folder)["global_step"] == 8
    run_id, experiment = resumable("latest", tmp_path / "runs")
    assert train(experiment, resume=run_id).test["esr"] > 0


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] . DefaultCPUAllocator: can't allocate memory: you tried"),
        MemoryError("Unable to allocate 8 PiB"),
    ],
)
def test_every_form_of_too_little_memory_is_explained(error):
    with pytest.raises(TrainingError, match="not enough memory for all of it"), memory_explained("all of it"):
        raise error


def test_an_unsupported_precision_of_the_cpu_is_explained():
    error = RuntimeError("could not create a primitive descriptor for the LSTM forward propagation primitive.")
    with pytest.raises(TrainingError, match=r"train\.precision.*32-true\.$"), memory_explained("it"):
        raise error


def test_other_errors_are_not_changed():
    for error in (RuntimeError("shapes differ"), DataError("x.wav: is cut off"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as raised, memory_explained("it"):
            raise error
        assert raised.value is error
    with pytest.raises(ValueError, match="no"), disk_explained("rest"):
        raise ValueError("no")


def test_a_recording_that_breaks_while_workers_read_it_is_named_without_a_traceback(tmp_path):
    wrong = sections(tmp_path, data={"name": "reference.tiny:Vanishing", "num_workers": 1})
    with pytest.raises(DataError) as error:
        train(wrong)
    assert str(error.value) == "gone.wav: there is no such file."


class Disk(Callback):
    """Simulated disk that is full between two steps."""

    def __init__(self, first, last, limit):
        self.steps, self.limit = (first, last), limit
        self.full = contextlib.ExitStack()

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.steps[0]:
            self.full.enter_context(full_disk(self.limit))
        if trainer.global_step == self.steps[1]:
            self.full.close()


def test_a_temporarily_full_disk_loses_nothing(tmp_path, caplog):
    whole = train(sections(tmp_path / "a"))
    caplog.clear()
    disk = Disk(6, 20, 1100)
    result = train(sections(tmp_path / "b"), callbacks=[disk])
    told = [entry.getMessage() for entry in caplog.records if "lib" not in entry.name]
    assert sum("checkpoint cannot be written" in text for text in told) == 1
    assert sum("in memory" in text for text in told) == 1
    assert result.validation == whole.validation
    assert torch.equal(*(next(iter(nfx.load(r.bundle).state_dict().values())) for r in (whole, result)))
    assert checkpoint(result.folder)["global_step"] == 24
    assert find_run(tmp_path / "b/runs", result.id).metrics["validation/loss"].steps == [8, 16, 24]
    assert not list(result.folder.rglob("*.tmp"))


def test_a_disk_that_stays_full_keeps_the_last_whole_files(tmp_path):
    disk = Disk(10, -1, 1100)
    with disk.full, pytest.raises(nfx.NablafxError, match="cannot"):
        train(sections(tmp_path), callbacks=[disk])
    folder = find_run(tmp_path / "runs", "latest").folder
    assert checkpoint(folder)["global_step"] == 8
    assert nfx.load(folder)(torch.randn(1, 1, 100))[0].isfinite().all()
    assert not list(folder.rglob("*.tmp"))


def test_a_failure_to_write_after_the_training_keeps_the_model(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(28, "No space left on device", "losses.png")

    monkeypatch.setattr("nablafx_core.training.fit.draw_curves", refuse)
    with pytest.raises(
        TrainingError,
        match=r"losses.png: cannot be written: No space.*nablafx train --resume \S+ --runs-dir .*runs",
    ) as error:
        train(sections(tmp_path))
    assert Path(str(error.value).split("trained: ")[1].split(". Free")[0]).is_file()


def started(forked, tmp_path, **settings):
    """Start a long training in its own process group, and wait for its first checkpoint."""
    experiment = sections(tmp_path, data={"num_workers": 1}, max_steps=1_000_000, **settings)
    (tmp_path / "endless.yaml").write_text(load_experiment(sections=experiment).to_yaml())
    process = forked.popen(
        [*NABLAFX, "train", str(tmp_path / "endless.yaml")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until(lambda: list(tmp_path.glob("runs/*/checkpoints/last.ckpt")), alive=lambda: process.poll() is None)
    return process


def stopped_as_it_should(process, tmp_path):
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert said.splitlines()[-1] == "Stopped."
    assert f"Resume with: nablafx train --resume latest --runs-dir {tmp_path / 'runs'}" in said
    (found,) = list_runs(tmp_path / "runs")
    assert found.status == "INTERRUPTED"
    step = checkpoint(found.folder)["global_step"]
    assert step > 0 and step % 8 == 0
    assert found.metrics["validation/loss"].steps[-1] >= step
    for line in (found.folder / "metrics.jsonl").read_text().splitlines():
        json.loads(line)
    assert not list(found.folder.rglob("*.tmp"))
    return found


@pytest.mark.skipif(sys.platform == "win32", reason="signals of another kind there")
class TestSignals:
    def test_ctrl_c_stops_it_and_it_goes_on(self, forked, tmp_path):
        """Ctrl-C reaches the whole group, the data workers too."""
        process = started(forked, tmp_path)
        os.killpg(process.pid, signal.SIGINT)
        found = stopped_as_it_should(process, tmp_path)
        run_id, experiment = resumable("latest", tmp_path / "runs")
        step = checkpoint(found.folder)["global_step"]

        class Stop(Callback):
            def on_train_batch_end(self, trainer, *rest):
                trainer.should_stop = trainer.global_step >= step + 16

        assert train(experiment, resume=run_id, callbacks=[Stop()]).id == found.id
        assert checkpoint(found.folder)["global_step"] >= step + 16

    def test_ctrl_c_twice_loses_nothing_more(self, forked, tmp_path):
        process = started(forked, tmp_path)
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.002)
        os.killpg(process.pid, signal.SIGINT)
        stopped_as_it_should(process, tmp_path)

    def test_sigterm_stops_it_and_it_can_be_resumed(self, forked, tmp_path):
        process = started(forked, tmp_path)
        process.terminate()
        stopped_as_it_should(process, tmp_path)

    def test_the_signal_handlers_of_python_are_restored(self, tmp_path):
        """Lightning ignores Ctrl-C once it has seen one; in a notebook the next one must work again."""

        class Interrupt(Callback):
            def on_train_batch_end(self, trainer, *rest):
                if trainer.global_step == 3:
                    signal.raise_signal(signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            train(sections(tmp_path), callbacks=[Interrupt()])
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_two_trainings_in_one_runs_folder_make_two_runs(forked, tmp_path):
    (tmp_path / "e.yaml").write_text(load_experiment(sections=sections(tmp_path)).to_yaml())
    command = [*NABLAFX, "train", str(tmp_path / "e.yaml")]
    both = [forked.popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in "ab"]
    for process in both:
        _, said = process.communicate()
        assert process.returncode == 0, said
    first, second = list_runs(tmp_path / "runs")
    assert first.status == second.status == "COMPLETED"
    assert first.metrics["train/loss"].values == second.metrics["train/loss"].values
    assert first.summary == second.summary
