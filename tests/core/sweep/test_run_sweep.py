"""A sweep with Ray that is killed, interrupted and resumed gives the same result as an uninterrupted one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from nablafx_core.runs.records import RunRecord, list_runs
from reference.forked import NABLAFX, Forked, Process
from reference.places import TESTS
from reference.waiting import PATIENCE, until

pytest.importorskip("ray.tune", reason="Ray Tune is not installed: pip install 'nablafx-core[sweep]'")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are found in /proc"),
]

#: No worker is started before one is needed, and none waits for whatever else this machine does: Ray makes them nice.
RAY = {"RAY_enable_worker_prestart": "0", "RAY_prestart_worker_first_driver": "0", "RAY_worker_niceness": "0"}
#: Draws 0.0003, then 0.02, then 1e-7.
SEED = 1


class Sweeping:
    """Starts sweeps and finds their processes."""

    def __init__(self, forked: Forked, folder: Path) -> None:
        self.forked, self.folder = forked, folder
        self.helpers: set[str] = set()
        self.mark = f"NABLAFX_TEST_SWEEP={folder}"
        name, _, value = self.mark.partition("=")
        path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
        self.environment = {**os.environ, **RAY, "PYTHONPATH": path, name: value}

    def start(self, *arguments: str) -> Process:
        return self.forked.popen(
            [*NABLAFX, "sweep", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def processes(self) -> dict[str, str]:
        """Return process ids with their command lines."""
        found = {}
        for folder in Path("/proc").iterdir():
            try:
                if folder.name.isdigit() and self.mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                    found[folder.name] = (folder / "cmdline").read_text().replace("\0", " ")[:80]
            except OSError:
                continue
        return {number: line for number, line in found.items() if line}  # a zombie has none

    def left(self) -> dict[str, str]:
        """Processes that are still there after a while, which should be none.

        After a kill two helpers of Ray's find out within a minute only that they are alone; they are told once.
        """
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            found = {number: line for number, line in self.processes().items() if number not in self.helpers}
            if not found:
                break
            time.sleep(0.2)
        return found

    def runs(self) -> tuple[RunRecord, list[RunRecord]]:
        """Return the records of the sweep and its trials."""
        runs = list_runs(self.folder / "runs")
        sweep = next(run for run in runs if run.command == "sweep")
        trials = [RunRecord.read(run.folder.parent / entry["id"]) for entry in sweep.info["trials"] for run in [sweep]]
        return sweep, trials

    def wait(self, process: Process, path: str) -> None:
        """Wait until the sweep has made a file."""
        until(lambda: any(self.folder.glob(path)), alive=lambda: process.poll() is None)


def test_a_sweep_that_is_killed_interrupted_and_resumed(forked, tmp_path):
    sections = {
        "data": {"name": "reference.tiny:TanhDataset", "segment_length": 2048, "batch_size": 2},
        "model": {"name": "tcn", "num_blocks": 2, "kernel_size": 3, "dilation_growth": 2, "channel_width": 4},
        "loss": [{"name": "reference.held:HeldL1", "folder": str(tmp_path), "step": 110}],
        "metrics": ["esr"],
        "train": {"max_steps": 300, "validate_every": 50, "accelerator": "cpu", "warm_up": 100},
    }
    space = {"train.learning_rate": [0.02, 1e-7, 0.0003]}
    asha = {"grace_period": 1, "reduction_factor": 2}
    sweep = {"search": "asha", "trials": 3, "seed": SEED, "concurrent": 1, "asha": asha, "space": space}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump({"experiment": sections, "sweep": sweep}))
    sweeping = Sweeping(forked, tmp_path)

    process = sweeping.start("sweep.yaml")
    sweeping.wait(process, "held-0")
    (tmp_path / "go-0").touch()
    sweeping.wait(process, "held-1")  # the second trial, 10 steps after its second checkpoint
    process.kill()
    process.communicate()
    sweeping.helpers = {number for number, line in sweeping.processes().items() if "Agent" in line}
    assert sweeping.left() == {}
    record, trials = sweeping.runs()
    assert (record.status, trials[0].status, trials[1].status) == ("DIED", "COMPLETED", "DIED")
    first = {path: path.read_bytes() for path in trials[0].folder.rglob("*") if path.is_file()}

    process = sweeping.start("--resume", record.id)
    sweeping.wait(process, "held-2")  # the second trial, 10 steps after its fourth
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process that was not told to stay out of it
    sweeping.wait(process, "runs/*/stops/everything")
    (tmp_path / "go-2").touch()
    output = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, output
    assert f"nablafx sweep --resume {record.id}" in output[1]
    assert sweeping.left() == {}
    record, trials = sweeping.runs()
    assert (record.status, trials[1].status) == ("INTERRUPTED", "INTERRUPTED"), output
    assert not trials[2].folder.exists()

    process = sweeping.start("--resume", record.id, "--json")
    output = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    assert sweeping.left() == {}
    answer = json.loads(output[0])
    record, trials = sweeping.runs()
    assert [run.status for run in trials] == ["COMPLETED"] * 3
    assert {run.entry["parent"] for run in trials} == {record.id}
    assert {path: path.read_bytes() for path in trials[0].folder.rglob("*") if path.is_file()} == first
    assert len(trials[1].resumed) == 2 and trials[1].metrics["validation/loss"].steps == [50, 100, 150, 200, 250, 300]
    # The third is judged by what the others had before the resumes.
    assert "stopped_early" in trials[2].info and trials[2].metrics["validation/loss"].steps == [50]
    assert "test/esr" in trials[1].summary and "test/esr" not in trials[2].summary
    assert [entry["number"] for entry in answer["trials"]] == [2, 1, 3]
    assert answer["best"]["value"] == min(trials[1].metrics["validation/loss"].values)
    assert record.summary == {
        "trials": 3,
        "completed": 2,
        "stopped_early": 1,
        "failed": 0,
        "validation/loss": answer["best"]["value"],
    }
    assert record.info["best"]["id"] == trials[1].id
