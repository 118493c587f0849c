"""Validations may be triggered by time as well as by steps; their times never affect the weights."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from lightning import Callback

from nablafx_core.config import load_experiment
from nablafx_core.errors import ConfigError
from nablafx_core.runs.records import find_run
from nablafx_core.training import callbacks
from nablafx_core.training.epochs import counted, early_seconds
from nablafx_core.training.fit import TrainResult, _Training, train
from nablafx_core.training.resumable import resumable

pytestmark = pytest.mark.slow

EARLY = {"validate_minutes": 0.5}


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Make the clock advance by ten seconds per batch."""
    seconds = iter(range(0, 10**6, 10))
    monkeypatch.setattr(callbacks, "now", lambda: float(next(seconds)))


@pytest.fixture(autouse=True)
def untested(monkeypatch):
    """Train only: no test of the best model and no figures."""

    def finish(self, run, best, *rest):
        return TrainResult(run.id, run.folder, best.path, best.best, {})

    monkeypatch.setattr(_Training, "_finish", finish)


def sections(folder, **settings):
    return {
        "data": {"name": "reference.tiny:TanhDataset", "segment_length": 2048, "batch_size": 2},
        "model": {"name": "reference.killing:Dropping"},
        "loss": [{"name": "reference.killing:L1", "random": True}],
        "metrics": ["esr"],
        "train": {"max_steps": 24, "validate_every": 8, "accelerator": "cpu", "threads": 1, **settings},
        "track": {"runs_dir": str(folder)},
    }


class Drawing(Callback):
    """Callback that draws random numbers in each validation, as a model or callback of a pack may do."""

    def on_validation_batch_end(self, *rest):
        torch.rand(()), random.random(), np.random.random()  # noqa: NPY002


class Interrupt(Callback):
    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, trainer, *rest):
        if trainer.global_step == self.step:
            raise KeyboardInterrupt


def end_of(folder):
    checkpoint = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    states = checkpoint["optimizer_states"][0]["state"]
    return [*checkpoint["state_dict"].values(), *(value for state in states.values() for value in state.values())]


def steps_of(folder):
    return find_run(folder.parent, folder.name).metrics["validation/loss"].steps


# Too fast to improve each time, so that patience and the plateau both have their say.
HASTY = {"max_steps": 80, "learning_rate": 0.3, "lr_patience": 0, "early_stopping_patience": 3}


def test_validations_by_time_change_no_weight_and_no_schedule(tmp_path):
    whole = train(sections(tmp_path / "a", **HASTY), callbacks=[Drawing()])
    early = train(sections(tmp_path / "b", **HASTY, **EARLY), callbacks=[Drawing()])
    steps, more = steps_of(whole.folder), steps_of(early.folder)
    assert more[:4] == [3, 7, 8, 12]
    assert counted(more, 8) == steps
    assert len(more) > len(steps)
    assert all(torch.equal(a, b) for a, b in zip(end_of(whole.folder), end_of(early.folder), strict=True))
    assert steps[-1] < 80
    rates = [find_run(r.folder.parent, r.id).metrics["learning_rate"] for r in (whole, early)]
    by_step = dict(zip(rates[1].steps, rates[1].values, strict=True))
    assert rates[0].values == [by_step[step] for step in rates[0].steps]


def test_a_resume_from_a_checkpoint_by_time_changes_nothing(tmp_path):
    whole = train(sections(tmp_path / "a"), callbacks=[Drawing()])
    with pytest.raises(KeyboardInterrupt):
        train(sections(tmp_path / "b", **EARLY), callbacks=[Drawing(), Interrupt(14)])
    run_id, experiment = resumable("latest", tmp_path / "b")
    checkpoint = torch.load(tmp_path / "b" / run_id / "checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 12
    resumed = train(experiment, resume=run_id, callbacks=[Drawing()])
    assert all(torch.equal(a, b) for a, b in zip(end_of(whole.folder), end_of(resumed.folder), strict=True))
    assert counted(steps_of(resumed.folder), 8) == [8, 16, 24]


def test_a_time_limit_alone_makes_several_validations(tmp_path):
    """420 s: the first after 42 s, then after 50 s, since each seems to take the 10 s of a batch; none near the end."""
    result = train(sections(tmp_path, max_steps=None, max_minutes=7, validate_every=2000))
    assert steps_of(result.folder) == [5, 11, 17, 23, 29, 35, 43]


@pytest.mark.parametrize(
    ("settings", "seconds"),
    [
        ({}, float("inf")),
        ({"max_minutes": 2.0}, 12.0),
        ({"max_minutes": 2.0, "validate_minutes": None}, float("inf")),
        ({"validate_minutes": 5.0}, 300.0),
        ({"max_minutes": 2.0, "validate_minutes": 5.0}, 300.0),
    ],
)
def test_the_longest_time_without_a_validation(settings, seconds, tmp_path):
    assert early_seconds(load_experiment(sections=sections(tmp_path, **settings)).train) == pytest.approx(seconds)


PRESET = {"data": {"name": "reference.tiny:TanhDataset"}, "model": {"preset": "capture-tcn"}}


@pytest.mark.parametrize(
    ("train_section", "overrides", "limits"),
    [
        (None, [], (100_000, 10.0)),
        ({"max_steps": 420}, [], (420, None)),
        ({"max_minutes": 3.0}, [], (None, 3.0)),
        ({"max_steps": 420, "max_minutes": 3.0}, [], (420, 3.0)),
        ({"max_steps": 420}, ["train.max_minutes=3"], (420, 3.0)),
        (None, ["train.max_steps=420"], (420, None)),
        ({"max_minutes": None}, [], (100_000, None)),
        ({"seed": 3}, [], (100_000, 10.0)),
    ],
)
def test_a_limit_of_the_user_replaces_the_limit_of_the_preset(train_section, overrides, limits):
    sections = PRESET if train_section is None else {**PRESET, "train": train_section}
    experiment = load_experiment(sections=sections, overrides=overrides)
    assert (experiment.train.max_steps, experiment.train.max_minutes) == limits
    again = load_experiment(sections=experiment.config)
    assert again.config == experiment.config


def test_without_a_preset_the_default_number_of_steps_ends_no_training_by_time():
    experiment = load_experiment(sections={**PRESET, "model": "tcn", "train": {"max_minutes": 3.0}})
    assert (experiment.train.max_steps, experiment.train.max_minutes) == (None, 3.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_steps": None, "early_stopping_patience": None}, "max_steps, max_minutes or early_stopping_patience"),
        ({"max_steps": None, "lr_schedule": "cosine"}, "lr_schedule: cosine .*max_steps or max_minutes"),
    ],
)
def test_a_training_needs_an_end(tmp_path, settings, message):
    with pytest.raises(ConfigError, match=message):
        load_experiment(sections=sections(tmp_path, **settings))
