"""The progress line says what is true, reads the loss seldom, and gives the terminal back."""

from __future__ import annotations

import io
import signal
import sys
from types import SimpleNamespace

import pytest
import torch
from lightning import LightningModule, Trainer
from rich.console import Console
from torch.utils.data import DataLoader

from nablafx_core.training.callbacks import TimeLimit
from nablafx_core.training.progress_bar import RichProgress, Status

pytestmark = pytest.mark.filterwarnings("ignore")
SHOW_CURSOR, HIDE_CURSOR = "\x1b[?25h", "\x1b[?25l"


class Loss:
    """A number that counts how often it is read, as a GPU would wait."""

    def __init__(self) -> None:
        self.reads = 0

    def __float__(self) -> float:
        self.reads += 1
        return 0.125


class Task(LightningModule):
    """Each step takes an eighth of a second by its clock, each validation 5 s."""

    def __init__(self, fails_with: BaseException | None = None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.settings = SimpleNamespace(max_steps=200)
        self.latest, self.validation = {"loss": Loss()}, {}
        self.now, self.fails_with = 100.0, fails_with

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.005)

    def training_step(self, batch, index):
        self.now += 0.125
        if self.fails_with and index == 20:
            raise self.fails_with
        return self.weight.square().sum()

    def validation_step(self, batch, index):
        pass

    def on_validation_epoch_end(self):
        self.now += 5
        self.validation = {"loss": 0.25 if self.current_epoch else 0.2}


def fit(
    task: Task, terminal: bool, epochs: int = 2, callbacks=(), max_minutes=None, width: int = 160, **settings
) -> str:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=width, color_system=None)
    progress = RichProgress(console=console, clock=lambda: task.now, **settings)
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        callbacks=[progress, *callbacks],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
    )
    task.settings.max_minutes = max_minutes
    try:
        trainer.fit(task, DataLoader(range(100)), DataLoader(range(1)))
    finally:
        task.written = stream.getvalue()
    return task.written


def test_lines_where_stderr_is_no_terminal():
    task = Task()
    lines = fit(task, terminal=False, seconds_per_line=6.25).splitlines()
    # Two epochs of 12.5 seconds with a validation of five after each.
    assert lines[0] == "step 50/200  25 %  8 steps/s  training loss 0.125  lr 0.005  0:06, 0:18 left"
    assert [line.split()[1] for line in lines] == ["50/200", "100/200", "110/200", "160/200", "200/200"]
    assert "8 steps/s  training loss 0.125  validation loss 0.2 (best 0.2)" in lines[2]
    assert lines[-1].endswith("validation loss 0.25 (best 0.2)  lr 0.005  0:35, 0:00 left  done")
    assert task.latest["loss"].reads == len(lines)


def test_a_terminal_is_redrawn_at_most_four_times_a_second_and_given_back():
    task = Task()
    written = fit(task, terminal=True)
    assert task.latest["loss"].reads <= 4 * 25 + 2 * 2 + 1
    assert "step 2/200" in written
    assert "validating" in written
    assert written.index(HIDE_CURSOR) < written.rindex(SHOW_CURSOR)
    last = written[written.rindex("step") :]
    assert last.startswith("step 200/200  ━━━━━━━━━━━━━━━━━━━━  100 %")
    assert "done" in last


def test_a_narrow_terminal_keeps_one_line():
    task = Task()
    fit(task, terminal=True, width=60)
    drawn = task.written.split("\r")
    assert all(part.count("\n") == 0 for part in drawn[:-1])


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_the_terminal_is_given_back_when_training_breaks(error, monkeypatch):
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # Lightning disables Ctrl-C and does not restore it
    task, before = Task(fails_with=error), (sys.stdout, sys.stderr)
    with pytest.raises((ValueError, SystemExit)):
        fit(task, terminal=True)
    assert task.written.rindex(SHOW_CURSOR) > task.written.rindex("step")
    assert (sys.stdout, sys.stderr) == before


def test_a_time_limit_that_ends_earlier_counts():
    lines = fit(Task(), terminal=False, seconds_per_line=6.25, max_minutes=0.25, epochs=1).splitlines()
    assert lines[0] == "step 50/200  42 %  8 steps/s  training loss 0.125  lr 0.005  0:06, 0:08 left"


def test_time_before_a_resume_counts():
    limit = TimeLimit(None)
    limit.elapsed = 3600.0
    assert "1:00:06" in fit(Task(), terminal=False, seconds_per_line=6.25, callbacks=[limit]).splitlines()[0]
    progress = RichProgress()
    progress.load_state_dict({"best": 0.1})
    assert progress.state_dict() == {"best": 0.1}


@pytest.mark.parametrize(
    ("total", "limit", "pace", "done", "left"),
    [
        (100, None, 2.0, 0.25, 37.5),
        (100, 50.0, 2.0, 0.4, 30.0),
        (100, 1000.0, 2.0, 0.25, 37.5),
        (100, None, None, 0.25, None),
        (None, 50.0, 2.0, 0.4, 30.0),
        (None, None, 2.0, 0.0, None),
        (20, None, 2.0, 1.0, 0.0),
    ],
)
def test_the_earlier_end_decides(total, limit, pace, done, left):
    status = Status(25, total, 20.0, limit, None, pace, "")
    assert (status.done, status.left) == (done, left)
