"""Several processes train as one process with their whole batch would, and all end when one dies."""

from __future__ import annotations

import os
import signal
import sys

import pytest
import torch
import yaml

import nablafx_core as nfx
from nablafx_core.runs.records import find_run, list_runs
from reference.forked import NABLAFX
from reference.killing import VARIABLE
from reference.places import TESTS
from reference.waiting import PATIENCE

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="forks, and kills by signal")]

TCN = {"name": "tcn", "num_blocks": 2, "kernel_size": 3, "dilation_growth": 2, "channel_width": 4, "norm": "none"}
LSTM = {"name": "lstm", "hidden_size": 4}
TWO = ["--set", "train.devices=2", "--set", "train.strategy=ddp"]


class Training:
    """Starts trainings and keeps what they say in the file `log`."""

    def __init__(self, forked, log):
        self.forked, self.log = forked, log

    def start(self, *arguments, **environment):
        with self.log.open("a") as log:
            command = [*NABLAFX, "train", *arguments]
            return self.forked.popen(command, env={**os.environ, **environment}, stdout=log, stderr=log)

    def alone(self, *arguments):
        return self.start(*arguments).wait(PATIENCE)

    def by_hand(self, first, second=None, **environment):
        """Two processes started as torchrun starts them, by the same arguments; their exit codes."""
        store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port)}
        common |= {"TORCHELASTIC_RUN_ID": "x", "TORCHELASTIC_USE_AGENT_STORE": "True"}
        common |= {"TORCHELASTIC_RESTART_COUNT": "0", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0", **environment}
        both = [
            self.start(*arguments, **common, RANK=rank, LOCAL_RANK=rank)
            for rank, arguments in (("0", first), ("1", second or first))
        ]
        return [process.wait(PATIENCE) for process in both]


@pytest.fixture
def training(forked, tmp_path):
    return Training(forked, tmp_path / "log")


def experiment(folder, model, tbptt, batch_size=2):
    file = folder / f"{model['name']}-{batch_size}.yaml"
    sections = {
        "data": {"name": "reference.tiny:TanhDataset", "segment_length": 2048, "batch_size": batch_size},
        "model": model,
        "loss": ["reference.killing:L1"],
        "metrics": ["esr"],
        "train": {
            "max_steps": 12,
            "validate_every": 4,
            "accelerator": "cpu",
            "precision": "64-true",
            "threads": 1,
            "tbptt": tbptt,
            "warm_up": 100,
        },
    }
    file.write_text(yaml.safe_dump(sections))
    return file


def weights(run):
    last = torch.load(run.folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    return torch.cat([tensor.flatten() for tensor in (*last.values(), *nfx.load(run.folder).state_dict().values())])


def assert_as_one(training, two, folder, model, tbptt):
    """Check that the weights equal those of one process with the doubled batch."""
    assert training.alone(str(experiment(folder, model, tbptt, 4)), "--runs-dir", str(folder / "one")) == 0
    one = find_run(folder / "one", "latest")
    torch.testing.assert_close(weights(two).double(), weights(one).double(), atol=1e-5, rtol=0)
    for name in ("train/loss", "validation/loss"):
        assert two.metrics[name].steps == one.metrics[name].steps
        assert two.metrics[name].values == pytest.approx(one.metrics[name].values, rel=1e-6)


@pytest.mark.parametrize(("model", "tbptt"), [(TCN, None), (LSTM, 512)])
def test_two_processes_train_as_one_with_the_doubled_batch(training, tmp_path, model, tbptt):
    runs = tmp_path / "two"
    codes = training.by_hand([str(experiment(tmp_path, model, tbptt)), "--runs-dir", str(runs), *TWO])
    assert codes == [0, 0], training.log.read_text()
    (two,) = list_runs(runs)
    assert [path.name for path in runs.iterdir()] == [two.id]
    assert two.status == "COMPLETED"
    assert {f"system/rank{rank}/samples_per_second" for rank in (0, 1)} <= set(two.metrics)
    assert_as_one(training, two, tmp_path, model, tbptt)


def test_the_clock_of_rank_0_decides_for_all_when_to_validate(training, tmp_path):
    """Validations by time come after each second batch here, and do not change the weights."""
    often = [*TWO, "--set", "train.validate_minutes=1e-9"]
    file = str(experiment(tmp_path, TCN, None))
    assert training.by_hand([file, "--runs-dir", str(tmp_path / "often"), *often]) == [0, 0]
    often = find_run(tmp_path / "often", "latest")
    assert often.metrics["validation/loss"].steps == [1, 3, 4, 6, 8, 10, 12]
    assert training.by_hand([file, "--runs-dir", str(tmp_path / "seldom"), *TWO]) == [0, 0]
    last = [
        torch.load(run.folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"].values()
        for run in (often, find_run(tmp_path / "seldom", "latest"))
    ]
    assert all(torch.equal(a, b) for a, b in zip(*last, strict=True))


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_nan_loss_in_one_process_ends_all_processes(training, tmp_path, rank):
    arguments = [str(experiment(tmp_path, TCN, None)), "--runs-dir", str(tmp_path / "runs"), *TWO]
    assert training.by_hand(arguments, **{VARIABLE: f"train 6 {rank} nan"}) == [1, 1]
    found = find_run(tmp_path / "runs", "latest")
    assert (found.status, found.error.count("NaN or infinite at step 6")) == ("FAILED", 1)
    assert torch.load(found.folder / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 4


def test_processes_with_different_trainings_end_with_an_error(training, tmp_path):
    same = [str(experiment(tmp_path, TCN, None)), "--runs-dir", str(tmp_path / "runs"), *TWO]
    assert training.by_hand(same, [*same, "--set", "train.learning_rate=0.1"]) == [1, 1]
    assert "the experiment is" in find_run(tmp_path / "runs", "latest").error


@pytest.fixture
def command(forked, tmp_path):
    def run(*arguments, **more):
        whole = [*NABLAFX, "train", *arguments, "--runs-dir", str(tmp_path / "runs")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path]), **more}
        return forked.run(whole, env=environment, capture_output=True, text=True, timeout=PATIENCE)

    return run


def test_a_killed_process_ends_the_run_which_resumes_to_the_same_end(training, command, tmp_path):
    done = command(str(experiment(tmp_path, LSTM, 512)), *TWO, **{VARIABLE: "train 11 1 kill"})
    assert done.returncode == 1
    assert "Error: process 1 of this training was killed by signal 9" in done.stderr
    found = find_run(tmp_path / "runs", "latest")
    assert found.status == "FAILED"
    assert "process 1" in found.error
    done = command("--resume", "latest")
    assert done.returncode == 0, done.stderr
    (two,) = list_runs(tmp_path / "runs")
    assert (two.id, two.status) == (found.id, "COMPLETED")
    assert_as_one(training, two, tmp_path, LSTM, 512)


def test_killing_rank_0_ends_all_processes(command, tmp_path):
    done = command(str(experiment(tmp_path, TCN, None)), *TWO, **{VARIABLE: "train 6 0 kill"})
    assert done.returncode == -signal.SIGKILL  # and its pipes are closed: nobody else holds them
    assert "another process of this training has ended" in done.stderr
    assert find_run(tmp_path / "runs", "latest").status == "DIED"
