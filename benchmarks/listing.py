"""Time of `nablafx runs` with thousands of runs: cold, warm, and as a process, against reading every run each time.

    python benchmarks/listing.py                        # 5,000 runs in a folder
    python benchmarks/listing.py --mongo                # the same runs in MongoDB (starts nx-27017)

Runs are synthetic and have the size of real ones: an experiment with its comments resolved, a host, packs, a summary,
and the logged values of a short training. Each repeat runs every case once; the table shows medians. Cold is the first
listing, without an index; warm is every later one.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from nablafx_core.mongo.documents import run_document
from nablafx_core.mongo.mongo_book import opened
from nablafx_core.runs.book import Book, FolderBook
from nablafx_core.runs.ids import new_id
from nablafx_core.runs.notes import read_notes
from nablafx_core.runs.records import run_folders
from nablafx_core.runs.rows import Row

WHERE = "model.name=tcn and metrics.esr<0.02"
PROGRAM = "from nablafx_core.cli import main; main()"


def experiment(chance: random.Random) -> dict:
    """Return a complete experiment, as the check of an experiment file gives it."""
    model = {"name": chance.choice(["tcn", "lstm", "s4", "graybox"]), "channel_width": chance.choice([8, 16, 32])}
    stages = [{"name": name, "max_gain_db": 18.0, "min_q": 0.3, "controls": ["gain", "tone"]} for name in "abcdef"]
    return {
        "model": {**model, "num_blocks": 10, "kernel_size": 3, "dilation_growth": 2, "causal": True, "stages": stages},
        "data": {"name": "tonetwist", "device": chance.choice(["TS9", "LA2A", "RAT", "SD1"]), "sample_rate": 48000},
        "loss": {"terms": [{"name": "l1", "weight": 0.5}, {"name": "mr_stft", "fft_sizes": [512, 1024, 2048]}]},
        "metrics": [{"name": name} for name in ("esr", "mae", "mr_stft", "lufs")],
        "train": {
            "max_steps": 3000,
            "batch_size": 16,
            "learning_rate": chance.choice([0.001, 0.005]),
            "optimizer": {"name": "adamw", "betas": [0.9, 0.999], "weight_decay": 0.01},
            "schedule": {"name": "cosine", "warm_up": 100},
            "seed": chance.randrange(1000),
        },
    }


def write_run(runs_dir: Path, chance: random.Random, values: int) -> None:
    """Write a run folder as the recorder does."""
    folder = runs_dir / new_id()
    folder.mkdir(parents=True)
    began = datetime(2026, 1, 1) + timedelta(minutes=chance.randrange(400_000))
    config = experiment(chance)
    final = 10 ** chance.uniform(-3, -0.5)
    lines = [
        {
            "name": name,
            "step": step,
            "value": final * (1 + 3 * 0.99**step) * chance.lognormvariate(0, 0.1),
            "timestamp": (began + timedelta(seconds=step)).isoformat(),
        }
        for step in range(values)
        for name in ("train/loss", *(("validation/loss", "validation/esr") if step % 10 == 9 else ()))
    ]
    failed = chance.random() < 0.05
    entry = {
        "status": "FAILED" if failed else "COMPLETED",
        "command": "train",
        "start_time": began.isoformat(),
        "heartbeat": (began + timedelta(hours=1)).isoformat(),
        "stop_time": (began + timedelta(hours=1)).isoformat(),
        "elapsed": 3600.0,
        "revision": 400,
        "parent": None,
        "pid": 4711,
        "process_start": "123456",
        "machine": "another",
        "resumed": [],
        "artifacts": ["model.nfx", "test.json", "pictures/losses.png", "audio/a.wav"],
        "resources": [],
        "meta": {"options": {"--id": folder.name, "--capture": "no"}},
        "experiment": {"name": "nablafx", "repositories": [{"commit": "0" * 40, "dirty": False}], "sources": []},
        "packs": [{"name": f"nablafx-{name}", "version": "0.1.0", "commit": "0" * 40} for name in ("core", "dsp")],
        "host": {
            "hostname": chance.choice(["lab1", "lab2"]),
            "cpu": "AMD EPYC 7763 64-Core Processor",
            "os": ["Linux", "Linux-6.1.0-x86_64-with-glibc2.36"],
            "python_version": "3.12.3",
            "torch_version": "2.8.0",
            "nvidia": {"driver": "570.86", "gpus": [{"name": "NVIDIA H100 80GB HBM3", "memory_mib": 81559}] * 2},
        },
        "result": None
        if failed
        else {f"test/{name}": final * k for k, name in enumerate(("esr", "mae", "mr_stft"), 1)},
        **({"fail_trace": ["Traceback (most recent call last):\n", "ValueError: it broke\n"]} if failed else {}),
    }
    if chance.random() < 0.2:
        notes = {"tags": ["keep", "paper"], "note": "a good one", "edited": began.isoformat()}
        (folder / "notes.json").write_text(json.dumps(notes))
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    (folder / "config.json").write_text(json.dumps({**config, "seed": 1}, indent=2, sort_keys=True))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "run.json").write_text(json.dumps(entry, indent=2, sort_keys=True))


def direct(book: Book) -> list[Row]:
    """Return the rows without an index: every run is read."""
    os.environ["NABLAFX_CACHE"] = os.devnull  # a folder cannot be made there
    return book.rows()


def indexed(book: Book, cache: Path, cold: bool) -> list[Row]:
    os.environ["NABLAFX_CACHE"] = str(cache)
    if cold:
        shutil.rmtree(cache, ignore_errors=True)
    return book.rows()


def seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def process(arguments: list[str], cache: Path, cold: bool) -> None:
    """Run the command as a user starts it."""
    if cold:
        shutil.rmtree(cache, ignore_errors=True)
    environment = {**os.environ, "NABLAFX_CACHE": str(cache)}
    subprocess.run(
        [sys.executable, "-c", PROGRAM, "runs", *arguments], env=environment, stdout=subprocess.DEVNULL, check=True
    )


def measure(title: str, book: Book, arguments: list[str], folder: Path, repeats: int) -> None:
    """Measure a lab book and print the medians."""
    cache = folder / "cache"
    cases = {
        "every run read, no index": lambda: direct(book),
        "cold index": lambda: indexed(book, cache, cold=True),
        "warm index": lambda: indexed(book, cache, cold=False),
        "process, cold": lambda: process(arguments, folder / "other", cold=True),
        "process, warm": lambda: process(arguments, folder / "other", cold=False),
        "process, warm, --where": lambda: process([*arguments, "--where", WHERE], folder / "other", cold=False),
    }
    found: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(repeats):
        for name, case in cases.items():
            found[name].append(seconds(case))
    print(f"{title}: {len(book.rows()):,} runs, medians of {repeats}")  # noqa: T201
    for name, times in found.items():
        ratios = [mine / base for mine, base in zip(times, found["every run read, no index"], strict=True)]
        print(f"  {name:26} {statistics.median(times):6.2f} s  ratio {statistics.median(ratios):.2f}")  # noqa: T201


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """Start nx-27017 on a free port and yield its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    own = ["--log-file", str(folder / "log"), "--pid-file", str(folder / "pid")]
    place = ["--data-dir", str(folder), "--host", "127.0.0.1", "-p", str(port)]
    running = subprocess.Popen(
        [Path(sys.executable).with_name("nx-27017"), *place, *own], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield f"mongodb://127.0.0.1:{port}/listing"
    finally:
        running.kill()
        running.wait()


def copied(runs_dir: Path, database: Any) -> None:
    """Copy the documents of the runs as a push does, without metrics, which a list does not read."""
    for folder in run_folders(runs_dir):
        entry = json.loads((folder / "run.json").read_text())
        known = {"config": json.loads((folder / "config.json").read_text()), "info": {}, "metrics": [], "values": 120}
        text = (folder / "config.yaml").read_text()
        document = run_document(entry, {**known, "config_yaml": text, "artifacts": [], "last_step": 99})
        notes = read_notes(folder)
        database["runs"].insert_one({"_id": folder.name, **document, **(notes.entry() if notes.edited else {})})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5000)
    parser.add_argument("--values", type=int, default=100, help="steps that each run logs")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--mongo", action="store_true", help="in MongoDB too")
    options = parser.parse_args()
    chance = random.Random(0)
    with tempfile.TemporaryDirectory() as temporary:
        folder, runs_dir = Path(temporary), Path(temporary) / "runs"
        for _ in range(options.runs):
            write_run(runs_dir, chance, options.values)
        measure("folder", FolderBook(runs_dir), ["--runs-dir", str(runs_dir)], folder, options.repeats)
        if options.mongo:
            (folder / "mongo").mkdir()
            with server(folder / "mongo") as url, opened(url) as book:
                copied(runs_dir, book.database)
                measure("MongoDB", book, ["--mongo", url], folder, options.repeats)


if __name__ == "__main__":
    main()
