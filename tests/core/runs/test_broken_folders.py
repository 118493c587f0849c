"""Damaged run folders and invalid names cause no traceback, no hanging and no wrong output."""

from __future__ import annotations

import logging
import os
import signal

import pytest
import torch
from click.testing import CliRunner

from nablafx_core.bundles.loading import load
from nablafx_core.cli import cli
from nablafx_core.errors import NablafxError, RunError
from nablafx_core.runs.find_model import find_model
from nablafx_core.runs.recorder import record
from nablafx_core.runs.records import RunRecord
from nablafx_core.training import checkpoints
from nablafx_core.training.checkpoints import newest_checkpoint, set_damaged_aside
from nablafx_core.training.failures import disk_explained

pytestmark = pytest.mark.slow

FILES = ["run.json", "config.yaml", "config.json", "metrics.jsonl", "metrics.json", "info.json", "notes.json", "lock.1"]
SHOWN = {"config.yaml", "config.json", "metrics.jsonl", "info.json", "notes.json"}
BREAKS = {
    "folder": lambda path: path.mkdir(),
    "fifo": lambda path: os.mkfifo(path),
    "link to nowhere": lambda path: path.symlink_to(path.with_name("nowhere")),
    "link to itself": lambda path: path.symlink_to(path),
    "link to a device": lambda path: path.symlink_to("/dev/zero"),
    "empty": lambda path: path.write_bytes(b""),
    "noise": lambda path: path.write_bytes(bytes(range(256))),
    "gone": lambda path: None,
}
NO_FILE = ("folder", "fifo", "link to nowhere", "link to itself", "link to a device")


@pytest.fixture(autouse=True)
def watched():
    """End a test that hangs, for example in a FIFO."""

    def hangs(*_):
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Create a run's folder in the current folder."""
    monkeypatch.chdir(tmp_path)

    def body(run):
        run.log("loss", 1.0, 1)
        run.set_info("chain", {"gain": 1})
        run.summary({"test/esr": 0.5})
        (run.folder / "a.txt").write_text("a")
        run.artifact(run.folder / "a.txt")
        return run.folder

    made = record("train", {"model": {"name": "tcn"}}, tmp_path / "runs", body, run_id="20261130-amber-fjord-7k3q")
    command("runs", "note", made.name, "a note")
    return made


def command(*words):
    """Return the output of a command that may fail, but only with an expected error."""
    result = CliRunner().invoke(cli, [*words])
    if result.exception is not None and not isinstance(result.exception, SystemExit | NablafxError):
        raise result.exception
    return f"{result.output}{result.exception or ''}"


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", BREAKS)
def test_every_command_about_runs_takes_every_folder(folder, name, how):
    (folder / name).unlink()
    BREAKS[how](folder / name)
    shown = command("runs", "show", folder.name)
    if name in SHOWN and how in NO_FILE:
        assert f"{name} cannot be read: " in shown
        assert {"folder": "it is a folder", "fifo": "regular file"}.get(how, name) in shown
    assert folder.name in command("runs", "--json")
    command("runs", "show", folder.name, "--json")
    command("runs", "tag", folder.name, "--add", "x")
    command("runs", "compare", folder.name, folder.name)
    command("train", "--resume", folder.name)
    command("test", folder.name)
    command("runs", "delete", folder.name, "--yes")


@pytest.mark.parametrize("how", NO_FILE)
def test_a_run_whose_metrics_are_no_file_goes_on_and_says_so(folder, how, caplog):
    if how == "link to a device":
        pytest.skip("a device takes what is written")
    (folder / "metrics.jsonl").unlink()
    BREAKS[how](folder / "metrics.jsonl")
    record("train", {}, folder.parent, lambda run: run.log("loss", 2.0, 2), run_id=folder.name, resume=True)
    assert RunRecord.read(folder).status == "COMPLETED"
    if how != "link to nowhere":  # the link leads to a file from then on
        assert "folder cannot be written" in caplog.text


@pytest.mark.parametrize("how", NO_FILE)
def test_a_model_that_is_no_file_is_not_called_untrained(folder, how):
    BREAKS[how](folder / "model.nfx")
    with pytest.raises(RunError, match=r"model.nfx: is not a file"):
        load(folder)


def test_a_file_that_is_recorded_and_gone_is_not_shown_as_there(folder):
    (folder / "a.txt").unlink()
    assert "a.txt  (missing)" in command("runs", "show", folder.name)


@pytest.mark.parametrize(
    "key", ["x" * 300, "y" * 5000, "a/" * 3000, "a\nb", "../x", "/", ".", "", "[x", "*", "%s", "~", "-"]
)
def test_any_text_may_be_written_for_a_run(folder, key):
    for words in (
        ("show",),
        ("tag", "--add", "x"),
        ("note",),
        ("compare", folder.name),
        ("delete", "--yes"),
        ("pull",),
    ):
        last = ["text"] if words == ("note",) else []
        said = command("runs", *words, "--", key, *last)
        assert "Traceback" not in said
        assert len(said) < 3500 + len(key) * (key.count("/") > 0)
    for words in (("test", "--", key), ("train", f"--resume={key}"), ("runs", f"--runs-dir={key}")):
        command(*words)
    with pytest.raises((NablafxError, OSError)) as caught:
        load(find_model(key, folder.parent))
    assert isinstance(caught.value, NablafxError)


@pytest.fixture
def states(tmp_path, monkeypatch):
    """Create two checkpoints that count as complete."""
    monkeypatch.setattr(checkpoints, "_check_parts", lambda path, checkpoint: None)
    (tmp_path / "checkpoints").mkdir()
    for name in ("last", "previous"):
        torch.save({"step": torch.tensor(1)}, tmp_path / "checkpoints" / f"{name}.ckpt")
    return tmp_path


@pytest.mark.parametrize("how", [how for how in BREAKS if how != "gone"])
def test_a_damaged_checkpoint_is_said_to_be_kept_where_it_is_kept(states, how, caplog):
    last, aside = states / "checkpoints" / "last.ckpt", states / "checkpoints" / "damaged.ckpt"
    last.unlink()
    BREAKS[how](last)
    caplog.set_level(logging.WARNING)
    good = newest_checkpoint(states)
    assert good == states / "checkpoints" / "previous.ckpt"
    assert f"{last}: " in caplog.text
    assert "damaged.ckpt" not in caplog.text
    set_damaged_aside(states, good)
    assert "damaged.ckpt" in caplog.text
    assert os.path.lexists(aside)
    assert not os.path.lexists(last)


@pytest.mark.parametrize("how", [how for how in BREAKS if how != "gone"])
def test_where_no_checkpoint_can_be_used_none_is_said_to_be_kept(states, how, caplog):
    for path in (states / "checkpoints").iterdir():
        path.unlink()
    BREAKS[how](states / "checkpoints" / "last.ckpt")
    with pytest.raises(RunError, match=f"run {states.name} cannot be resumed"):
        newest_checkpoint(states)
    assert "damaged.ckpt" not in caplog.text


def test_a_full_disk_under_the_audio_says_how_to_go_on_too():
    def refuse():
        try:
            raise OSError(28, "No space left on device")
        except OSError as error:
            raise NablafxError("a.wav: cannot be written: No space left on device.") from error

    told = pytest.raises(NablafxError, match=r"a.wav: cannot be written.* Make room, then: nablafx train --resume x")
    with told, disk_explained("Make room, then: nablafx train --resume x"):
        refuse()
