"""A killed run is recognised as dead, loses no logged values, and is resumed in its folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from nablafx_core.errors import RunError
from nablafx_core.runs.process import identity, only_process
from nablafx_core.runs.recorder import record
from nablafx_core.runs.records import RunRecord
from reference.waiting import PATIENCE, until

pytestmark = pytest.mark.slow

CONFIG = {"model": {"name": "lstm"}, "train": {"seed": 1}}

ENDLESS = """
import sys, time
from pathlib import Path
from nablafx_core.runs.recorder import record

def body(run):
    for step in range(100):
        run.log("loss", 100.0 - step, step)
    sys.stdout.write(run.id + "\\n")
    sys.stdout.flush()
    time.sleep(3600)

record("train", {"model": {"name": "lstm"}}, Path(sys.argv[1]), body)
"""


@pytest.fixture
def endless(tmp_path):
    """Start a run in another process, which logs 100 values and sleeps."""
    process = subprocess.Popen([sys.executable, "-c", ENDLESS, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    run_id = process.stdout.readline().strip()
    yield process, tmp_path / run_id
    process.kill()
    process.wait()
    process.stdout.close()


def is_zombie(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="elsewhere a death shows after a minute only")
def test_a_killed_run_has_died_and_can_be_resumed(endless):
    process, folder = endless
    assert RunRecord.read(folder).status == "RUNNING"
    with pytest.raises(RunError, match="is still running"):
        record("train", CONFIG, folder.parent, lambda run: None, folder.name, resume=True)
    process.kill()
    until(lambda: is_zombie(process.pid))  # dead, and not yet collected by its parent: that is dead enough
    dead = RunRecord.read(folder)
    assert dead.status == "DIED"
    assert dead.metrics["loss"].values == [100.0 - step for step in range(100)]

    def rest(run):
        for step in range(90, 110):
            run.log("loss", -float(step), step)
        assert RunRecord.read(folder).status == "RUNNING"
        return run.folder

    assert record("train", CONFIG, folder.parent, rest, folder.name[:-2], resume=True) == folder
    done = RunRecord.read(folder)
    assert done.status == "COMPLETED"
    assert len(done.resumed) == 1
    assert done.start == dead.start
    assert done.metrics["loss"].steps == list(range(110))
    assert done.metrics["loss"].values == [100.0 - s for s in range(90)] + [-float(s) for s in range(90, 110)]
    sacreds = json.loads((folder / "metrics.json").read_text())["loss"]
    assert (sacreds["steps"], sacreds["values"]) == (done.metrics["loss"].steps, done.metrics["loss"].values)
    assert done.last_step == 109


def test_sigterm_from_outside_ends_a_run_in_order(endless):
    process, folder = endless
    process.terminate()
    process.wait(PATIENCE)
    assert RunRecord.read(folder).status == "INTERRUPTED"
    assert (folder / "metrics.json").exists()


def test_a_resume_keeps_the_earlier_record(tmp_path):
    def first(run):
        run.artifact(__file__, "a.py")
        run.set_info("first", 1)
        raise ValueError("broke")

    with pytest.raises(ValueError, match="broke"):
        record("train", CONFIG, tmp_path, first, "mine", parent="sweep")
    failed = RunRecord.read(tmp_path / "mine")
    (failed.folder / "run.json").write_text(json.dumps({**failed.entry, "elapsed": 1000.0}))

    def second(run):
        run.artifact(__file__, "b.py")
        run.set_info("second", 2)

    longer = {**CONFIG, "train": {"max_steps": 9}}
    record("train", longer, tmp_path, second, "mine", resume=True, parent="another")
    found = RunRecord.read(tmp_path / "mine")
    assert (found.entry["parent"], found.entry["revision"] > failed.entry["revision"] > 0) == ("sweep", True)
    assert (found.status, found.error) == ("COMPLETED", None)
    assert found.artifacts == ["a.py", "b.py"]
    assert found.config == longer
    assert yaml.safe_load((found.folder / "config.1.yaml").read_text()) == CONFIG
    assert found.info == {"first": 1, "second": 2}
    assert 1000 <= found.duration < 1000 + PATIENCE


def test_runs_that_cannot_be_resumed_are_rejected(tmp_path):
    with pytest.raises(RunError, match="run_id"):
        record("train", CONFIG, tmp_path, lambda run: None, resume=True)
    with pytest.raises(RunError, match="there is no run 'gone'"):
        record("train", CONFIG, tmp_path, lambda run: None, "gone", resume=True)
    record("train", CONFIG, tmp_path, lambda run: None, "taken")
    with pytest.raises(RunError, match="exists"):
        record("train", CONFIG, tmp_path, lambda run: None, "taken")
    (tmp_path / "taken" / "run.json").write_text("{")
    with pytest.raises(RunError, match=r"cannot be resumed: run.json is damaged"):
        record("train", CONFIG, tmp_path, lambda run: None, "taken", resume=True)


@pytest.mark.parametrize("stale", [{}, {"pid": 1, "process_start": "1"}, {"released": True}])
def test_only_one_of_several_concurrent_resumes_succeeds(tmp_path, stale):
    if stale:
        holder = identity() | stale if "pid" in stale else stale
        (tmp_path / "lock.7").write_text(json.dumps(holder))
    together, inside, refused, all_tried = threading.Barrier(8), [], [], threading.Event()

    def resume():
        together.wait()
        try:
            with only_process(tmp_path):
                inside.append(1)
                all_tried.wait(PATIENCE)
        except RunError:
            refused.append(1)
        if len(refused) == 7:
            all_tried.set()

    threads = [threading.Thread(target=resume) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(inside), len(refused)) == (1, 7)
    with only_process(tmp_path):
        pass


def test_a_lock_that_was_never_written_holds_for_a_minute_only(tmp_path):
    lock = tmp_path / "lock.1"
    lock.touch()
    with pytest.raises(RunError, match="still running"), only_process(tmp_path):
        pass
    os.utime(lock, (time.time() - 61, time.time() - 61))
    with only_process(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["lock.2"]


def test_a_lock_that_vanishes_between_listing_and_reading_is_not_an_error(tmp_path, monkeypatch):
    """Another process has taken over the lock and holds the next number, so this process is rejected."""
    (tmp_path / "lock.7").write_text("{}")
    (tmp_path / "lock.8").write_text(json.dumps(identity()))
    monkeypatch.setattr(type(tmp_path), "glob", lambda self, pattern: iter([tmp_path / "lock.7"]))
    monkeypatch.setattr(type(tmp_path), "exists", lambda self: True)  # as it was a moment ago
    (tmp_path / "lock.7").unlink()
    with pytest.raises(RunError, match="just been resumed"), only_process(tmp_path):
        pass
