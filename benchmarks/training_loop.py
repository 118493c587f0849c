"""Overhead of the training loop per step: `train` as users call it, from WAV files, against a bare loop.

    python benchmarks/training_loop.py

The bare loop is forward, loss, backward, clipping and the optimiser's step for the same model on the same batches, held
in memory. One bare step follows each step of the training, so that a busy moment of the machine affects both. The time
between two bare steps is that of the training: its own step, reading the next batch, callbacks, records. Both times are
summed over the steps between two records, and the overhead is the median over these groups. A validation, with the
checkpoints and the bundle that follow it, is timed separately. One torch thread.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import statistics
import tempfile
import time
from pathlib import Path

import torch
from lightning import Callback

from nablafx_core.audio.reading import write
from nablafx_core.config import load_experiment
from nablafx_core.profiling import cost_card
from nablafx_core.registry.building import build
from nablafx_core.scoring.built import built_losses
from nablafx_core.training.callbacks import RECORD_EVERY
from nablafx_core.training.fit import train
from nablafx_core.training.optimizer import optimizer_of
from nablafx_core.training.prepared import data_module, prepared_data, prepared_model

RATE = 48_000
CASES = {"tcn-45-s": (8, 16_384), "capture-tcn": (6, 8_192)}
FAST_MODELS = ("tcn-45-s", "lstm-32", "s4-b4")


class Beside(Callback):
    """Callback that makes a bare step after each step of the training, and times both."""

    def __init__(self, step, batches):
        self.step, self.batches = step, batches
        self.loop, self.bare, self.validations = [], [], []

    def on_train_start(self, trainer, pl_module):
        self.last = time.perf_counter()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        began = time.perf_counter()
        self.loop.append(began - self.last)
        self.step(self.batches[batch_idx % len(self.batches)])
        self.last = time.perf_counter()
        self.bare.append(self.last - began)

    def on_validation_start(self, trainer, pl_module):
        self.began = time.perf_counter()

    def on_train_end(self, trainer, pl_module):
        self.validations.append(time.perf_counter() - self.began)


def recordings(folder, seconds):
    """Write a pair of files: noise, and the same noise through a tanh."""
    dry = 0.3 * torch.randn(seconds * RATE, generator=torch.Generator().manual_seed(0))
    write(folder / "dry.wav", dry, RATE)
    write(folder / "wet.wav", torch.tanh(3 * dry), RATE)
    return {"name": "pair", "dry": str(folder / "dry.wav"), "wet": str(folder / "wet.wav"), "delay": 0}


def prepared(preset, data, folder, steps, batch_size, segment_length):
    sections = {
        "data": {**data, "batch_size": batch_size, "segment_length": segment_length},
        "train": {"max_steps": steps, "validate_every": steps, "accelerator": "cpu", "max_minutes": None},
        "track": {"runs_dir": str(folder / "runs")},
    }
    experiment = load_experiment(sections=sections, preset=preset)
    dataset = prepared_data(experiment)
    model = prepared_model(experiment, dataset)
    return experiment, model, data_module(experiment, dataset, model)


def bare_step(model, experiment):
    """Return a bare training step, without callbacks or records."""
    model, settings = copy.deepcopy(model).train(), experiment.train
    optimizer = optimizer_of(model, settings)
    loss = built_losses(experiment.config["loss"], model.sample_rate)
    parameters = list(model.parameters())
    clip = {"value": torch.nn.utils.clip_grad_value_, "norm": torch.nn.utils.clip_grad_norm_}

    def step(batch):
        prediction = model(batch.dry)[0][..., batch.dry.shape[-1] - batch.wet.shape[-1] :]
        value = loss(prediction, batch.wet)[0].mean()
        optimizer.zero_grad()
        value.backward()
        if settings.gradient_clip_val is not None:
            clip[settings.gradient_clip_algorithm](parameters, settings.gradient_clip_val)
        optimizer.step()

    return step


def overheads(preset, data, folder, groups, batch_size, segment_length):
    """Return the seconds of a bare step and of a validation, and the overhead of each group without the warm-up."""
    steps = RECORD_EVERY * (groups + 1)
    experiment, model, batches = prepared(preset, data, folder, steps, batch_size, segment_length)
    held = [batch for batch, _ in zip(batches.train_dataloader(), range(16), strict=False)]
    beside = Beside(bare_step(model, experiment), held)
    train(experiment, callbacks=[beside])
    sums = [
        [sum(times[first : first + RECORD_EVERY]) for first in range(RECORD_EVERY, steps, RECORD_EVERY)]
        for times in (beside.loop, beside.bare)
    ]
    ratios = [loop / bare - 1 for loop, bare in zip(*sums, strict=True)]
    return statistics.median(sums[1]) / RECORD_EVERY, beside.validations[-1], ratios


def loading_rate(data, folder, batch_size, segment_length, batches=200):
    """Return the samples per second that the loader reads from disk when nothing else runs."""
    module = prepared("tcn-45-s", data, folder, batches, batch_size, segment_length)[2]
    rates, loader = [], module.train_dataloader()
    for _ in range(5):
        began = time.perf_counter()
        count = sum(batch.wet.numel() for batch in itertools.islice(loader, batches))
        rates.append(count / (time.perf_counter() - began))
    return statistics.median(rates)


def loop_lines(data, folder, groups):
    yield f"{'PRESET':<13}{'BATCH':>12}{'BARE STEP':>12}{'OVERHEAD':>10}{'FROM':>9}{'TO':>9}{'VALIDATION':>12}"
    for preset, (batch_size, length) in CASES.items():
        step, validation, ratios = overheads(preset, data, folder, groups, batch_size, length)
        middle, low, high = (f"{100 * of(ratios):.1f} %" for of in (statistics.median, min, max))
        batch = f"{batch_size} x {length:,}"
        yield f"{preset:<13}{batch:>12}{1000 * step:>9.0f} ms{middle:>10}{low:>9}{high:>9}{validation:>10.2f} s"


def loading_lines(data, folder):
    batch_size, length = CASES["tcn-45-s"]
    loaded, trained = loading_rate(data, folder, batch_size, length), {}
    for preset in FAST_MODELS:
        model = build("model", load_experiment(sections={"data": data}, preset=preset).config["model"])
        trained[preset] = cost_card(model, batch_size, length, block_sizes=()).step_samples_per_second
    fastest = max(trained, key=lambda preset: trained[preset])
    yield f"Loading alone           {loaded / RATE:>8,.0f} x real time"
    yield f"Training {fastest:<15}{trained[fastest] / RATE:>8,.1f} x real time, the fastest of {', '.join(trained)}"
    yield f"Ratio                   {loaded / trained[fastest]:>8,.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--groups", type=int, default=5, help=f"of {RECORD_EVERY} steps, each against as many bare ones"
    )
    parser.add_argument("--seconds", type=int, default=60, help="of recordings")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        data = recordings(Path(name), options.seconds)
        lines = [*loop_lines(data, Path(name), options.groups), "", *loading_lines(data, Path(name))]
    print("\n".join(lines))  # noqa: T201


if __name__ == "__main__":
    main()
