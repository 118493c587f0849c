"""Effect of MongoDB's faults on a run: values logged, values found, and the duration of the end of the run.

    python benchmarks/mongo_faults.py

Each row is a run that logs 20,000 values of four metrics and records a file of 3 MB, over a real server (nx-27017)
and TCP, while the fault happens. Values count as found if pymongo alone reads the right
value, right after the run, and after `nablafx runs push` without the fault. Timeouts and waits are the real ones.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import gridfs
import pymongo

from nablafx_core.mongo.address import address_of
from nablafx_core.mongo.pushing import push
from nablafx_core.runs.metrics_file import read_series
from nablafx_core.runs.recorder import record

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from reference.full_disk import full_disk
from reference.mongo_server import Proxy, Server

METRICS = ("train/loss", "validation/loss", "validation/esr", "learning_rate")
STEPS = 5000


class Told(logging.Handler):
    """Handler that keeps the messages for the user."""

    def __init__(self):
        super().__init__()
        self.texts = []

    def emit(self, entry):
        self.texts.append(entry.getMessage())


def value(metric, step):
    return (step + 1) / (METRICS.index(metric) + 7)


def log(run, first, last):
    for step in range(first, last):
        for metric in METRICS:
            run.log(metric, value(metric, step), step)
        if step % 500 == 0:
            time.sleep(0.25)  # a training computes in between


def found(database, run_id):
    """Return the number of right values in the database, and of files that can be read."""
    count = 0
    for chunk in database.metrics.find({"run_id": run_id}):
        pairs = zip(chunk["steps"], chunk["values"], strict=True)
        count += sum(value(chunk["name"], step) == stored for step, stored in pairs)
    run = database.runs.find_one({"_id": run_id}) or {"artifacts": []}
    files = gridfs.GridFS(database)
    return count, sum(len(files.get(one["file_id"]).read()) == one["size"] for one in run["artifacts"])


def cut_again_and_again(proxy):
    for _ in range(6):
        proxy.up = False
        time.sleep(0.2)
        proxy.up = True
        time.sleep(0.3)


def lost_and_back(server):
    server.kill()
    time.sleep(3)
    server.start()


#: For each fault: actions before the run, in its middle, and before the push, which undoes the fault.
FAULTS = {
    "none": (None, None, None),
    "down at the start, for good": (lambda s, p: s.kill(), None, lambda s, p: s.start()),
    "lost in the middle and back": (None, lambda s, p: lost_and_back(s), None),
    "lost in the middle for good": (None, lambda s, p: s.kill(), lambda s, p: s.start()),
    "network cut six times": (None, lambda s, p: cut_again_and_again(p), None),
    "slow: 2 s a reply": (lambda s, p: setattr(p, "delay", 2.0), None, lambda s, p: setattr(p, "delay", 0.0)),
    "silent from the middle on": (
        None,
        lambda s, p: setattr(p, "silent", True),
        lambda s, p: (setattr(p, "up", False), setattr(p, "silent", False), setattr(p, "up", True)),
    ),
    "answers garbage": (None, lambda s, p: setattr(p, "garbage", True), lambda s, p: setattr(p, "garbage", False)),
    "full": (None, lambda s, p: setattr(p, "error", "full"), lambda s, p: setattr(p, "error", "")),
    "read-only": (lambda s, p: setattr(p, "error", "read-only"), None, lambda s, p: setattr(p, "error", "")),
    "wrong password": (lambda s, p: setattr(p, "error", "wrong password"), None, None),
    "not primary": (None, lambda s, p: setattr(p, "error", "not primary"), lambda s, p: setattr(p, "error", "")),
}


def measured(name, folder, told):
    """Return a row of the table."""
    before, middle, undo = FAULTS[name]
    server = Server(folder / "mongo").start()
    proxy = Proxy(server.host, server.port)
    sound = folder / "sound.wav"
    sound.write_bytes(os.urandom(3 << 20))
    ended = []

    def body(run):
        log(run, 0, STEPS // 2)
        if middle:
            middle(server, proxy)
        log(run, STEPS // 2, STEPS)
        run.artifact(sound)
        ended.append(time.monotonic())
        return run.folder

    if before:
        before(server, proxy)
    told.texts.clear()
    login = "ada:secret@" if name == "wrong password" else ""
    address = f"mongodb://{login}127.0.0.1:{proxy.port}/lab"
    run = record("train", {}, folder / "runs", body, mongo=address)
    seconds = time.monotonic() - ended[0]
    texts = [text.partition(": ")[2] for text in told.texts]
    result = _after(run, server, proxy, undo)
    return [name, len(METRICS) * STEPS, *result[0], f"{seconds:.1f} s", *result[1]], texts


def _after(run, server, proxy, undo):
    def asked():
        if server.process.poll() is not None or server.process.returncode is not None:
            return "server down", ""
        with pymongo.MongoClient(server.host, server.port) as client:
            return found(client.lab, run.name)

    right_after = asked()
    if undo:
        undo(server, proxy)
    with address_of(f"mongodb://127.0.0.1:{proxy.port}/lab").database() as database:
        push(run, database)
    after_push = asked()
    server.kill()
    proxy.close()
    return right_after, after_push


def killed(folder):
    """Measure a run whose process is killed."""
    server = Server(folder / "mongo").start()
    program = (
        "import sys; sys.path.insert(0, 'benchmarks')\n"
        "from mongo_faults import *\n"
        f"record('train', {{}}, Path({str(folder / 'runs')!r}), lambda run: log(run, 0, STEPS), 'mine', "
        f"mongo='mongodb://127.0.0.1:{server.port}/lab')"
    )
    process = subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parents[1])
    time.sleep(4.0)
    process.kill()
    process.wait()
    run = folder / "runs/mine"
    logged = sum(len(one.steps) for one in read_series(run / "metrics.jsonl").values())
    with pymongo.MongoClient(server.host, server.port) as client:
        right_after = found(client.lab, "mine")
        push(run, client.lab)
        after_push = found(client.lab, "mine")
    server.kill()
    return ["the run itself is killed", logged, *right_after, "", *after_push], []


def disk_full(folder, told):
    """Measure a run whose own disk is full from the middle on, while MongoDB is up."""
    server = Server(folder / "mongo").start()
    full, ended = full_disk(0), []

    def body(run):
        log(run, 0, STEPS // 2)
        full.__enter__()
        log(run, STEPS // 2, STEPS)
        ended.append(time.monotonic())
        return run.folder

    told.texts.clear()
    run = record("train", {}, folder / "runs", body, mongo=f"mongodb://127.0.0.1:{server.port}/lab")
    full.__exit__(None, None, None)
    seconds = time.monotonic() - ended[0]
    with pymongo.MongoClient(server.host, server.port) as client:
        right_after = found(client.lab, run.name)
        push(run, client.lab)
        after_push = found(client.lab, run.name)
    server.kill()
    return ["the run's disk is full", len(METRICS) * STEPS, *right_after, f"{seconds:.1f} s", *after_push], told.texts


def main():
    told = Told()
    logging.getLogger("nablafx_core").addHandler(told)
    logging.getLogger("nablafx_core").propagate = False
    form = "{:<30}{:>8}{:>13}{:>6}{:>9}{:>12}{:>6}"
    heads = ("FAULT", "LOGGED", "AT THE END", "FILES", "END TOOK", "AFTER PUSH", "FILES")
    print(form.format(*heads))  # noqa: T201
    measures = {name: lambda folder, name=name: measured(name, folder, told) for name in FAULTS}
    measures |= {"the run itself is killed": killed, "the run's disk is full": lambda folder: disk_full(folder, told)}
    for name in sys.argv[1:] or measures:
        with tempfile.TemporaryDirectory() as folder:
            row, texts = measures[name](Path(folder))
        print(form.format(*map(str, row)))  # noqa: T201
        for text in texts:
            print(f"    {text}")  # noqa: T201
        sys.stdout.flush()


if __name__ == "__main__":
    main()
