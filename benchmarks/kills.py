"""Kill trainings at random moments and resume them: number of kills, their phases, and differences at the end.

``python benchmarks/kills.py [KILLS]``. Each training is killed by SIGKILL after a random time, resumed, killed again,
until it has had its number of kills, and then finishes. Its last checkpoint and its best model are compared with those
of the same training without kills.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))

import torch
import yaml

import nablafx_core as nfx
from nablafx_core.runs.records import list_runs
from reference.forked import Forked

TCN = {"name": "tcn", "num_blocks": 3, "kernel_size": 3, "dilation_growth": 2, "channel_width": 8}
TRAININGS = {
    "TCN, whole segments": (TCN, {"tbptt": None}),
    "LSTM, truncated": ({"name": "lstm", "hidden_size": 8}, {"tbptt": 512, "early_stopping_patience": 3}),
    "dropout and random loss": ({"name": "reference.killing:Dropping"}, {"tbptt": None}),
}
KILLS_EACH = 3


def experiment(folder: Path, name: str) -> Path:
    """Return the experiment file of a training of some seconds."""
    model, settings = TRAININGS[name]
    sections = {
        "data": {"name": "reference.tiny:TanhDataset", "segment_length": 2048, "batch_size": 4},
        "model": model,
        "loss": [{"name": "reference.killing:L1", "random": "random" in name}],
        "metrics": ["esr"],
        "train": {"max_steps": 240, "validate_every": 24, "accelerator": "cpu", "threads": 1, **settings},
    }
    file = folder / "experiment.yaml"
    file.write_text(yaml.safe_dump(sections))
    return file


def phase(folder: Path) -> str:
    """Return the phase of a killed training, from the files that it left."""
    (run,) = list_runs(folder)
    names = {path.name for path in run.folder.rglob("*")}
    if ".next.ckpt.tmp" in names or "next.ckpt" in names or ({"previous.ckpt"} <= names and "last.ckpt" not in names):
        return "writing a checkpoint"
    if any(name.startswith(".model.nfx") for name in names):
        return "writing the best model"
    if "pictures" in names:
        return "testing"
    return "between checkpoints" if "last.ckpt" in names else "before the first checkpoint"


def killed(run: Forked, folder: Path, file: Path, kills: int, seconds: float, seen: Counter[str]) -> None:
    """Train with this number of kills, not counting kills before the run began or after it ended."""
    command = ["train", str(file)]
    while True:
        if kills:
            (process,) = run.start(([*command, "--runs-dir", str(folder)], {}))
            timer = threading.Timer(random.uniform(0.02, seconds), os.kill, (process, signal.SIGKILL))
            timer.start()
            (code,) = run.wait()
            timer.cancel()
            timer.join()
        else:
            code = run(*command, "--runs-dir", str(folder))
        if code == 0:
            return
        if code != -signal.SIGKILL:
            raise SystemExit(run.log.read_text())
        records = list_runs(folder)
        if records and records[0].status == "DIED":
            kills -= 1
            seen[phase(folder)] += 1
            command = ["train", "--resume", "latest"]
        elif records:  # before its record began: nothing to resume
            for path in records[0].folder.rglob("*"):
                path.unlink()
            records[0].folder.rmdir()


def weights(folder: Path) -> torch.Tensor:
    """Return the weights of the last checkpoint and of the best model of the only run."""
    (run,) = list_runs(folder)
    last = torch.load(run.folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    best = nfx.load(run.folder).state_dict()
    return torch.cat([value.flatten().double() for state in (last, best) for value in state.values()])


def main() -> None:
    """Kill, resume, compare, print."""
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    random.seed(8)
    seen: Counter[str] = Counter()
    largest, trainings = 0.0, 0
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        run = Forked(root / "log")
        whole, seconds = {}, {}
        for training in TRAININGS:
            folder = root / training
            folder.mkdir()
            start = time.monotonic()
            killed(run, folder / "runs", experiment(folder, training), 0, 0.0, seen)
            seconds[training] = time.monotonic() - start
            whole[training] = weights(folder / "runs")
        while seen.total() < wanted:
            training = list(TRAININGS)[trainings % len(TRAININGS)]
            trainings += 1
            folder = root / f"{trainings}"
            share = min(KILLS_EACH, wanted - seen.total())
            killed(run, folder, root / training / "experiment.yaml", share, seconds[training], seen)
            difference = float((weights(folder) - whole[training]).abs().max())
            largest = max(largest, difference)
            sys.stdout.write(f"{training}: {seen.total()} kills so far, difference {difference:g}\n")
            sys.stdout.flush()
        run.close()
    sys.stdout.write(f"{seen.total()} kills of {trainings} trainings of {len(TRAININGS)} kinds\n")
    for where, count in seen.most_common():
        sys.stdout.write(f"  {count:3} {where}\n")
    sys.stdout.write(f"largest difference of a weight after resuming: {largest:g}\n")


if __name__ == "__main__":
    main()
