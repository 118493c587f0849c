"""A failing Lightning callback of a pack gives a warning, and the training continues without it."""

from __future__ import annotations

import copy
import logging
import pickle

import pytest
import torch
from lightning import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.model_helpers import is_overridden

import nablafx_core as nfx
from nablafx_core.errors import ConfigError, TrainingError
from nablafx_core.registry.diagnosis import otherwise
from nablafx_core.runs.records import find_run
from nablafx_core.testing.tiny import tiny_sections
from nablafx_core.training.guarded import guarded, pack_callbacks
from reference.callbacks import Counting

OTHERWISE = otherwise("nablafx-acme")
HOOKS = [name for name in vars(Callback) if name.startswith("on_") or name in ("setup", "teardown", "state_dict")]


def test_a_working_callback_is_unchanged():
    plain, callback = Counting(), guarded(Counting(), "nablafx-acme")
    assert isinstance(callback, Counting)
    assert callback.state_key == plain.state_key
    assert [is_overridden(hook, callback) for hook in HOOKS] == [is_overridden(hook, plain) for hook in HOOKS]
    callback.on_train_batch_end(None, None, outputs=None, batch=None, batch_idx=0)
    callback.on_train_start(None, None)
    assert callback.calls == 2
    assert callback.state_dict() == {"calls": 3}
    callback.load_state_dict({"calls": 7})
    assert callback.calls == 7


@pytest.mark.parametrize("again", [copy.deepcopy, lambda callback: pickle.loads(pickle.dumps(callback))])
def test_a_copy_of_a_guarded_callback_is_guarded(again, caplog):
    callback = guarded(Counting(ValueError("x")), "nablafx-acme")
    other = again(callback)
    other.on_train_batch_end(None, None, None, None, 0)
    other.on_train_batch_end(None, None, None, None, 1)
    assert (callback.calls, other.calls) == (0, 1)
    assert len(caplog.records) == 1


def test_a_failing_callback_is_warned_about_once_and_not_called_again(caplog):
    callback = guarded(Counting(ValueError("too hot\nvery hot")), "nablafx-acme")
    callback.on_train_start(None, None)
    for index in range(3):
        assert callback.on_train_batch_end(None, None, None, None, index) is None
    callback.on_train_start(None, None)
    assert callback.state_dict() == {}
    assert callback.calls == 2
    line = Counting.called.__code__.co_firstlineno + 3
    assert [record.getMessage() for record in caplog.records] == [
        "pack nablafx-acme: its callback Counting failed in on_train_batch_end (ValueError: too hot "
        f"(reference/callbacks.py:{line})). It is not called again; the training continues. {OTHERWISE}"
    ]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), TrainingError("stop")])
def test_exceptions_that_end_a_training_on_purpose_pass(error, caplog):
    callback = guarded(Counting(error), "nablafx-acme")
    for _ in range(2):
        with pytest.raises(type(error)):
            callback.on_train_batch_end(None, None, None, None, 0)
    assert caplog.records == []


def test_a_hook_on_the_instance_is_kept_and_guarded(caplog):
    callback = Counting()
    callback.on_train_end = lambda trainer, module: 1 / 0
    guarded(callback, "nablafx-acme").on_train_end(None, None)
    assert "failed in on_train_end (ZeroDivisionError: division by zero" in caplog.text


PACK = """
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from reference.callbacks import Counting
@hookimpl
def nablafx_callbacks(config):
    {body}
"""


def installed(install, body):
    install("nablafx-acme", PACK.format(body=body))


def sections(folder):
    train = {"max_steps": 6, "validate_every": 3, "accelerator": "cpu", "early_stopping_patience": None}
    return {**tiny_sections(), "metrics": ["mae"], "train": train, "track": {"runs_dir": str(folder)}}


def test_training_goes_on_to_the_same_weights(install, tmp_path, caplog):
    plain = nfx.train(sections(tmp_path / "plain"))
    faults = "RuntimeError('a'), 'on_train_start'"
    installed(install, f"return [Counting({faults}), EarlyStopping('no/such/figure')]")
    with caplog.at_level(logging.WARNING):
        result = nfx.train(sections(tmp_path / "guarded"))
    assert find_run(tmp_path / "guarded", result.id).status == "COMPLETED"
    ours, theirs = nfx.load(plain.bundle).state_dict(), nfx.load(result.bundle).state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    told = [record.getMessage() for record in caplog.records if record.name.endswith("guarded")]
    assert len(told) == 2
    assert "its callback Counting failed in on_train_start (RuntimeError: a" in told[0]
    assert (
        "its callback EarlyStopping failed in on_train_epoch_end (RuntimeError: Early stopping conditioned" in told[1]
    )


def test_a_failing_pack_hook_is_warned_about_and_the_others_are_called(install, caplog):
    installed(install, "config['train']['seed'] = 8; return [config['model'], Counting()]")
    install("nablafx-bad", "@hookimpl\ndef nablafx_callbacks(config):\n    return [config['no']]")
    install("nablafx-cool", PACK.format(body="return [EarlyStopping('x', patience=config['train']['seed'])]"))
    config = {"train": {"seed": 7}, "model": 5}
    mine, cool = pack_callbacks(config)
    assert (type(mine), cool.patience) == (Counting, 7)
    assert config == {"train": {"seed": 7}, "model": 5}
    assert [record.getMessage() for record in caplog.records] == [
        "pack nablafx-acme: nablafx_callbacks() returned int instead of a lightning.Callback: 5. It is left out; the "
        f"training continues. {OTHERWISE}",
        "pack nablafx-bad: nablafx_callbacks() failed: KeyError: 'no' (nablafx_bad.py:6). "
        f"{OTHERWISE.replace('acme', 'bad')} The training continues without its callbacks.",
    ]


def test_a_pack_may_refuse_an_experiment(install):
    installed(install, "from nablafx_core.errors import ConfigError; raise ConfigError('not with this model')")
    with pytest.raises(ConfigError, match="not with this model"):
        pack_callbacks({})


def test_a_callback_with_the_state_key_of_another_is_left_out(install, caplog):
    """Lightning would end the training if two callbacks had the same state_key."""
    installed(install, "return [ModelCheckpoint(monitor='a'), ModelCheckpoint(monitor='b'), Counting(), Counting()]")
    beside = [ModelCheckpoint(monitor="a")]
    found = pack_callbacks({}, beside)
    assert [type(callback) for callback in found] == [ModelCheckpoint, Counting]
    assert found[0].monitor == "b"
    assert len(caplog.records) == 2
    assert "returned a Counting with the state_key of another callback (Counting)" in caplog.text
    Trainer(callbacks=[*beside, *found], logger=False, accelerator="cpu", enable_progress_bar=False)
