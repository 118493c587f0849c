"""Between two records, no training step reads a value from the device, because reading waits for it."""

from __future__ import annotations

import threading
import traceback

import pytest
import torch
from lightning import Callback
from torch.utils._python_dispatch import TorchDispatchMode

from nablafx_core.data import segments
from nablafx_core.training.callbacks import RECORD_EVERY, RecordFigures
from nablafx_core.training.fit import train

pytestmark = pytest.mark.slow

TCN = {"name": "tcn", "num_blocks": 2, "kernel_size": 3, "dilation_growth": 2, "channel_width": 4}
LSTM = {"name": "lstm", "hidden_size": 4, "pre_roll": 16}
aten = torch.ops.aten
STEPS = RECORD_EVERY + 5
READERS = {aten._local_scalar_dense, aten.is_nonzero, aten.nonzero, aten.masked_select, aten.equal, aten.unique_dim}
METHODS = ("cpu", "numpy", "tolist", "item", "__float__", "__int__", "__bool__")


class Watch(TorchDispatchMode):
    """Notes who reads a value in this thread while `on`.

    The optimiser's counters of its steps are on the CPU whatever the device.
    """

    def __init__(self):
        super().__init__()
        self.on = False
        self.counters: set[int] = set()
        self.seen: list[str] = []
        self.thread = threading.get_ident()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket in READERS:
            self.note(args[0])
        return func(*args, **(kwargs or {}))

    def note(self, value):
        if self.on and threading.get_ident() == self.thread and value.data_ptr() not in self.counters:
            self.seen.append("".join(traceback.format_stack(limit=12)))


@pytest.fixture(autouse=True)
def _as_on_a_device(monkeypatch):
    """Compiled kernels, which read memory directly, are for the CPU alone."""
    monkeypatch.setenv("NABLAFX_KERNELS", "torch")


class Between(Callback):
    """Watches all steps but the first, which makes the optimiser's counters, and the last, before a validation."""

    def __init__(self, watch):
        self.watch = watch
        self.steps = 0
        self.steps_per_batch = 2  # at most

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        states = trainer.optimizers[0].state.values()
        self.watch.counters = {state["step"].data_ptr() for state in states if "step" in state}
        left = pl_module.settings.max_steps - trainer.global_step
        self.watch.on = batch_idx > 0 and left > self.steps_per_batch
        self.steps += self.watch.on


def unwatched(watch, call):
    """The same call, in which values may be read."""

    def wrapped(*arguments):
        before, watch.on = watch.on, False
        try:
            return call(*arguments)
        finally:
            watch.on = before

    return wrapped


def watched_training(monkeypatch, tmp_path, record=True, **sections):
    """Where values were read, and the number of steps that were watched."""
    watch = Watch()
    between = Between(watch)
    monkeypatch.setattr(segments, "stack", unwatched(watch, segments.stack))  # files are read on the CPU
    if record:
        monkeypatch.setattr(RecordFigures, "_record", unwatched(watch, RecordFigures._record))
    for name in METHODS:
        original = getattr(torch.Tensor, name)

        def method(tensor, *arguments, _original=original, **named):
            watch.note(tensor)
            return _original(tensor, *arguments, **named)

        monkeypatch.setattr(torch.Tensor, name, method)
    experiment = {
        "data": {"name": "reference.tiny:TanhDataset", "segment_length": 2048, "batch_size": 2},
        "model": TCN,
        "loss": ["esr", "mr_stft"],
        "metrics": ["esr"],
        "track": {"runs_dir": str(tmp_path / "runs")},
        **sections,
    }
    steps = {"max_steps": STEPS, "validate_every": STEPS, "accelerator": "cpu", "warm_up": 100}
    experiment["train"] = {**steps, **experiment.get("train", {})}
    with watch:
        train(experiment, callbacks=[between], progress=False)
    return watch.seen, between.steps


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"train": {"lr_schedule": "cosine", "max_minutes": 10, "gradient_clip_algorithm": "norm"}},
        {"model": TCN | {"conditioning": "tvfilm", "norm": "none"}},
        {"model": LSTM, "loss": ["esr"], "train": {"tbptt": 1024, "max_steps": 2 * STEPS, "validate_every": 2 * STEPS}},
        {"loss": ["l1", "mse", "dc", "log_cosh"]},
    ],
    ids=["plain", "cosine", "tvfilm", "tbptt", "losses"],
)
def test_no_step_waits_for_the_device(monkeypatch, tmp_path, sections):
    seen, steps = watched_training(monkeypatch, tmp_path, **sections)
    assert steps >= RECORD_EVERY
    assert not seen, f"{len(seen)} times, the first of them:\n{seen[0]}"


def test_recording_waits_for_the_device(monkeypatch, tmp_path):
    seen, _ = watched_training(monkeypatch, tmp_path, record=False)
    assert any("mean_losses" in place for place in seen)
    assert any("broken_step" in place for place in seen)
