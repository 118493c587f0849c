"""A training that is killed anywhere and resumed gives the same weights, figures and curves."""

from __future__ import annotations

import os
import random
import signal
import sys

import pytest
import torch
import yaml

import nablafx_core as nfx
from nablafx_core.bundles.bundle import describe_bundle
from nablafx_core.runs.records import find_run, list_runs
from reference.forked import NABLAFX
from reference.killing import VARIABLE
from reference.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="forks, and kills by signal")]

MODELS = {
    "tcn": {"name": "tcn", "num_blocks": 2, "kernel_size": 3, "dilation_growth": 2, "channel_width": 4},
    "lstm": {"name": "lstm", "hidden_size": 4},
    "random": {"name": "reference.killing:Dropping"},
}
TRAIN = {
    "tcn": {"tbptt": None, "lr_schedule": "cosine", "lr_warm_up": 5},
    # It learns too fast to improve at each validation: the plateau and the early stop both come.
    "lstm": {"tbptt": 512, "max_steps": 400, "early_stopping_patience": 2, "lr_patience": 0, "learning_rate": 0.2},
    "random": {"tbptt": None},
}


def experiment(folder, kind, workers=0):
    """Write an experiment file with a training of about two dozen steps."""
    file = folder / f"{kind}.yaml"
    sections = {
        "data": {
            "name": "reference.tiny:TanhDataset",
            "segment_length": 2048,
            "batch_size": 2,
            "num_workers": workers,
        },
        "model": MODELS[kind],
        "loss": [{"name": "reference.killing:L1", "random": kind == "random"}],
        "metrics": ["esr"],
        "train": {
            "max_steps": 24,
            "validate_every": 8,
            "accelerator": "cpu",
            "warm_up": 100,
            "threads": 1,
            **TRAIN[kind],
        },
    }
    file.write_text(yaml.safe_dump(sections))
    return file


def end_of(run):
    """Return everything that must be equal at the end of two trainings."""
    last = torch.load(run.folder / "checkpoints/last.ckpt", weights_only=True)
    states = {"last": last["state_dict"], "best": nfx.load(run.folder).state_dict()}
    weights = {f"{which} {name}": value for which, state in states.items() for name, value in state.items()}
    for group, state in last["optimizer_states"][0]["state"].items():
        weights |= {f"optimizer {group} {name}": value for name, value in state.items()}
    curves = {n: (s.steps, s.values) for n, s in run.metrics.items() if not n.startswith("system/")}
    best = describe_bundle(run.folder / "model.nfx")["info"]
    figures = {key: value for key, value in run.summary.items() if not key.startswith("system/")}
    return weights, {"curves": curves, "summary": figures, "best": best["validation"], "test": best["test"]}


def assert_same(one, other):
    weights, rest = end_of(one)
    others, other_rest = end_of(other)
    assert weights.keys() == others.keys()
    assert [name for name, value in weights.items() if not torch.equal(value, others[name])] == []
    assert rest == other_rest
    assert one.last_step == other.last_step > 8


class Command:
    """Runs the command line, to its end; what it says is in the file `log`."""

    def __init__(self, forked, log):
        self.forked, self.log = forked, log

    def __call__(self, *arguments, **environment):
        with self.log.open("a") as log:
            environment = {**os.environ, **environment}
            return self.forked.run([*NABLAFX, *arguments], env=environment, stdout=log, stderr=log).returncode


@pytest.fixture(scope="module")
def run(forked, tmp_path_factory):
    return Command(forked, tmp_path_factory.mktemp("forked") / "log")


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory):
    """Give the runs of uninterrupted trainings, by model."""
    folder, known = tmp_path_factory.mktemp("whole"), {}

    def get(kind):
        if kind not in known:
            assert run("train", str(experiment(folder, kind)), "--runs-dir", str(folder / kind)) == 0, (
                run.log.read_text()
            )
            (known[kind],) = list_runs(folder / kind)
        return known[kind]

    return get


def killed_at(run, folder, kind, *places, workers=0):
    """Return the run of a training that is killed at each of these places and resumed each time."""
    begin = ["train", str(experiment(folder, kind, workers))]
    for place in places:
        code = run(*begin, "--runs-dir", str(folder / "runs"), **{VARIABLE: place})
        assert code == -signal.SIGKILL, (place, run.log.read_text())
        (record,) = list_runs(folder / "runs")
        assert record.status == "DIED"
        begin = ["train", "--resume", record.id[:-1]]
    assert run(*begin, "--runs-dir", str(folder / "runs")) == 0, run.log.read_text()
    (record,) = list_runs(folder / "runs")
    assert (record.status, len(record.resumed)) == ("COMPLETED", len(places))
    assert not list(record.folder.rglob("*.tmp"))
    return record


@pytest.mark.parametrize(
    ("kind", "places"),
    [
        ("tcn", ["train 3"]),  # before the first checkpoint there is nothing: from the beginning
        ("random", ["train 5", "train 11", "train 2"]),  # the second before the first checkpoint, the third after
        ("random", ["train 17"]),
        ("lstm", ["train 41", "train 30"]),
        ("tcn", ["validation 4"]),
    ],
    ids=lambda value: value if isinstance(value, str) else ", ".join(value),
)
def test_a_killed_training_ends_like_an_uninterrupted_one(run, whole, tmp_path, kind, places):
    assert_same(killed_at(run, tmp_path, kind, *places), whole(kind))


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("tcn", "replace:model.nfx 1"),  # the first bundle is being written
        ("random", "replaced:model.nfx 2"),  # the bundle is newer than the checkpoint
        ("random", "replace:next.ckpt 2"),
        ("tcn", "replace:last.ckpt 2"),  # between the two names: only the previous one is there
        ("lstm", "replace:test.json 1"),  # stopped early, in the test
        ("random", "replace:model.nfx 4"),  # the last writing of all
    ],
)
def test_killed_while_files_are_written(run, whole, tmp_path, kind, place):
    assert_same(killed_at(run, tmp_path, kind, place), whole(kind))


def test_the_lstm_stops_early_and_its_rate_falls(whole):
    """Otherwise the tests above would not cover early stopping and the plateau."""
    run = whole("lstm")
    rates = run.metrics["learning_rate"].values
    assert run.last_step < 400
    assert rates[-1] < rates[0]


@pytest.mark.parametrize("kind", ["random"])
def test_data_workers_do_not_change_the_weights(run, whole, tmp_path, kind):
    """They change neither the data nor the random states: their seeds come from a generator of the loader."""
    assert_same(killed_at(run, tmp_path, kind, "train 13", workers=1), whole(kind))


def test_the_real_command_killed_at_a_random_moment(forked, whole, tmp_path):
    """Send SIGKILL as soon as the record has a number of values."""
    values = random.Random(8).randint(4, 12)
    file = experiment(tmp_path, "random")
    process = forked.popen([*NABLAFX, "train", str(file), "--runs-dir", str(tmp_path / "runs")])

    def written():
        return sum(path.read_bytes().count(b"\n") for path in tmp_path.glob("runs/*/metrics.jsonl"))

    until(lambda: written() >= values, alive=lambda: process.poll() is None)
    process.kill()
    process.wait()
    forked.run([*NABLAFX, "train", "--resume", "latest", "--runs-dir", str(tmp_path / "runs")], check=True)
    assert_same(find_run(tmp_path / "runs", "latest"), whole("random"))


def test_a_file_to_start_from_is_needed_only_before_the_first_checkpoint(run, whole, tmp_path):
    """Weights come from the checkpoint; the bundle of the initial weights may be missing."""
    start = tmp_path / "start.nfx"
    start.write_bytes((whole("tcn").folder / "model.nfx").read_bytes())
    for place, code in (("train 13", 0), ("train 3", 1)):
        runs = str(tmp_path / place.replace(" ", "-"))
        begin = ["train", str(experiment(tmp_path, "tcn")), "--init", str(start), "--runs-dir", runs]
        assert run(*begin, **{VARIABLE: place}) == -signal.SIGKILL
        aside = start.rename(tmp_path / "aside.nfx")
        assert run("train", "--resume", "latest", "--runs-dir", runs) == code
        aside.rename(start)
    assert f"Error: {start}: there is no such file." in run.log.read_text()
