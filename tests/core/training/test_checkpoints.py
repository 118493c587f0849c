"""Checkpoints are written atomically, the last two are kept, and nothing in them is executed."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning import Callback

import nablafx_core as nfx
from nablafx_core.bundles.bundle import save_bundle
from nablafx_core.errors import NablafxError, RunError
from nablafx_core.runs.records import find_run
from nablafx_core.training.best import KeepBest
from nablafx_core.training.checkpoints import DAMAGED, LAST, PREVIOUS, CheckpointFiles, newest_checkpoint
from nablafx_core.training.fit import train
from nablafx_core.training.resumable import resumable

pytestmark = pytest.mark.slow

TCN = {"name": "tcn", "num_blocks": 2, "kernel_size": 3, "dilation_growth": 2, "channel_width": 4}
SETTINGS = {"max_steps": 12, "validate_every": 4, "accelerator": "cpu"}


class Stop(Callback):
    """Callback with a state that ends a training before a step."""

    def __init__(self, step, state=None):
        self.step, self.state, self.loaded = step, state, None

    def on_train_batch_start(self, trainer, *rest):
        if trainer.global_step == self.step:
            raise ValueError("stopped")

    def state_dict(self):
        return {"kept": self.state}

    def load_state_dict(self, state_dict):
        self.loaded = state_dict["kept"]


def stopped(runs, state=None):
    """Train until step 10, after the checkpoints of steps 4 and 8; return the run folder."""
    sections = {
        "data": {"name": "reference.tiny:TanhDataset", "segment_length": 2048, "batch_size": 2},
        "model": TCN,
        "loss": ["l1"],
        "metrics": ["esr"],
        "train": SETTINGS,
        "track": {"runs_dir": str(runs)},
    }
    with pytest.raises(ValueError, match="stopped"):
        train(sections, callbacks=[Stop(10, state)])
    return find_run(runs, "latest").folder


def resume(folder, callbacks=()):
    run_id, experiment = resumable("latest", folder.parent)
    return train(experiment, resume=run_id, callbacks=list(callbacks))


def step(path):
    return torch.load(path, weights_only=True)["global_step"]


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    """Flip a bit in the middle of the largest tensor."""
    with zipfile.ZipFile(path) as archive:
        part = max(archive.infolist(), key=lambda entry: entry.file_size)
    content = bytearray(path.read_bytes())
    content[part.header_offset + 128 + part.file_size // 2] ^= 1
    path.write_bytes(content)


class Bomb:
    """Object that runs a command when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def bomb(path):
    content = torch.load(path, weights_only=True)
    torch.save({**content, "more": Bomb(path.parent / "exploded")}, path)


@pytest.mark.parametrize(
    "harm", [cut, flip, bomb, lambda path: path.write_bytes(b"")], ids=["cut", "flip", "bomb", "empty"]
)
def test_a_damaged_checkpoint_is_skipped_with_a_warning(tmp_path, caplog, harm):
    folder = stopped(tmp_path / "runs")
    assert (step(folder / LAST), step(folder / PREVIOUS)) == (8, 4)
    harm(folder / LAST)
    content = (folder / LAST).read_bytes()
    result = resume(folder)
    skipped, kept = [entry.getMessage() for entry in caplog.records if entry.name.endswith("checkpoints")]
    assert skipped.startswith(f"{folder / LAST}: ")
    assert kept.startswith(f"{folder / LAST}: ")
    assert "damaged.ckpt" in kept
    assert (folder / DAMAGED).read_bytes() == content
    assert (step(folder / LAST), step(folder / PREVIOUS)) == (12, 8)
    assert not (folder / "checkpoints/exploded").exists()
    assert result.test["esr"] > 0


def test_the_error_about_damaged_checkpoints_says_what_to_do(tmp_path):
    folder = stopped(tmp_path / "runs")
    for name in (LAST, PREVIOUS):
        cut(folder / name)
    with pytest.raises(RunError, match=r"cannot be resumed.*config\.yaml.*--init"):
        resume(folder)
    assert find_run(folder.parent, "latest").status == "FAILED"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.pop("loops"), "was written by a different version of the code: it has no loops"),
        (lambda content: content["callbacks"].pop("RandomStates"), "it has no callbacks.RandomStates"),
        (
            lambda content: content["state_dict"].update(new=torch.ones(1)),
            "its weights new are not those of this TCN",
        ),
        (lambda content: content["optimizer_states"][0]["param_groups"].pop(), "its groups of parameters are not"),
    ],
)
def test_a_checkpoint_of_a_different_version_of_the_code_is_rejected(tmp_path, change, message):
    folder = stopped(tmp_path / "runs")
    content = torch.load(folder / LAST, weights_only=True)
    change(content)
    torch.save(content, folder / LAST)
    with pytest.raises(NablafxError, match=message):
        resume(folder)
    assert (folder / LAST).exists()


def test_the_state_of_a_callback_is_kept_or_a_warning_is_logged(tmp_path, caplog):
    plain = Stop(-1)
    resume(stopped(tmp_path / "plain", {"a": [1, torch.ones(2)]}), [plain])
    assert plain.loaded["a"][0] == 1
    caplog.clear()
    other = Stop(-1)
    resume(stopped(tmp_path / "other", Path("x")), [other])
    assert other.loaded is None
    assert sum("left out of checkpoints" in entry.getMessage() for entry in caplog.records) == 1


def test_a_failed_write_keeps_both_checkpoints(tmp_path, monkeypatch):
    files, path = CheckpointFiles(), tmp_path / LAST
    for number in (1, 2):
        files.save_checkpoint({"callbacks": {}, "n": number}, path)
    monkeypatch.setattr("nablafx_core.files.os.fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "full")))
    files.save_checkpoint({"callbacks": {}, "n": 3}, path)
    assert [torch.load(tmp_path / name)["n"] for name in (LAST, PREVIOUS)] == [2, 1]
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["last.ckpt", "previous.ckpt"]
    assert newest_checkpoint(tmp_path / "elsewhere") is None


class TestKeepBest:
    def model(self, value):
        model = nfx.build("model", {**TCN, "controls": [], "sample_rate": 48000})
        with torch.no_grad():
            next(model.parameters()).fill_(value)
        return model

    def validated(self, best, loss, step, value):
        module = SimpleNamespace(validation={"loss": loss}, model=self.model(value))
        best.on_validation_end(SimpleNamespace(global_step=step), module)

    def value(self, path):
        return next(nfx.load(path).parameters()).flatten()[0].item()

    def test_a_better_bundle_on_the_disk_stays_with_its_figures(self, tmp_path):
        """The best model was written after the checkpoint; on a GPU the steps since then may give other weights."""
        path = tmp_path / "run" / "model.nfx"
        self.validated(KeepBest(path, {"run": "run"}), 0.25, 8, 1.0)
        (path.parent / ".model.nfx.0.tmp").touch()
        again = KeepBest(path, {"run": "run"})
        again.resume()
        self.validated(again, 0.5, 8, 2.0)
        assert (again.best, self.value(path)) == ({"loss": 0.25, "step": 8}, 1.0)
        self.validated(again, 0.125, 12, 3.0)
        assert (again.best, self.value(path)) == ({"loss": 0.125, "step": 12}, 3.0)
        assert [entry.name for entry in path.parent.iterdir()] == ["model.nfx"]

    def test_a_bundle_of_another_run_is_ignored(self, tmp_path):
        save_bundle(self.model(1.0), tmp_path / "model.nfx", {"run": "other", "validation": {"loss": 0.1, "step": 1}})
        best = KeepBest(tmp_path / "model.nfx", {"run": "run"})
        best.resume()
        assert best.best == {}

    @pytest.mark.parametrize("at", [8, 12])
    def test_a_lost_bundle_is_written_again_from_its_checkpoint_or_warned_about(self, tmp_path, caplog, at):
        first = KeepBest(tmp_path / "model.nfx", {"run": "run"})
        self.validated(first, 0.25, 8, 1.0)
        checkpoint = {"global_step": at, "callbacks": {first.state_key: first.state_dict()}}
        cut(first.path)
        again = KeepBest(first.path, {"run": "run"})
        again.resume()
        again.on_load_checkpoint(None, SimpleNamespace(model=self.model(1.0)), checkpoint)
        assert again.best == ({"loss": 0.25, "step": 8} if at == 8 else {})
        assert any("missing or damaged" in entry.getMessage() for entry in caplog.records) == (at == 12)

    def test_a_best_model_only_in_memory_is_not_in_the_checkpoint(self, tmp_path, monkeypatch):
        best = KeepBest(tmp_path / "model.nfx", {"run": "run"})
        self.validated(best, 0.25, 8, 1.0)
        monkeypatch.setattr("nablafx_core.files.os.replace", lambda *names: (_ for _ in ()).throw(OSError(28, "full")))
        self.validated(best, 0.125, 12, 2.0)
        assert (best.best["step"], best.state_dict()["best"]["step"]) == (12, 8)
