# ruff: noqa: N802 - the names are those of NVML
"""The use of GPUs is recorded, and a run continues whatever their driver does."""

from __future__ import annotations

import json
import shutil
import sys
import threading
import types

import pytest
import torch

from nablafx_core.runs import devices
from nablafx_core.runs.devices import sampled_gpus
from nablafx_core.runs.environment import nvidia
from nablafx_core.runs.recorder import record
from nablafx_core.runs.records import find_run
from nablafx_core.training import machine_use
from nablafx_core.training.fit import train
from reference.waiting import PATIENCE, until


class Driver(types.ModuleType):
    """Stand-in for NVML with two GPUs: the second has no power sensor. All calls fail after `breaks_after` readings."""

    NVML_TEMPERATURE_GPU = 0

    class NVMLError(Exception):
        """Stand-in for any NVML error."""

    class NVMLError_NotSupported(NVMLError):  # noqa: N801 - NVML's own name
        """Stand-in for NVML's error about a missing sensor."""

    def __init__(self, breaks_after=10**9):
        super().__init__("pynvml")
        self.left = breaks_after
        self.asked_power = 0
        self.open = 0
        self.read_all = threading.Event()

    def nvmlInit(self):
        self.open += 1

    def nvmlShutdown(self):
        self.open -= 1

    def nvmlSystemGetDriverVersion(self):
        return "580.1"

    def nvmlDeviceGetCount(self):
        return 2

    def nvmlDeviceGetHandleByIndex(self, index):
        return index

    def nvmlDeviceGetName(self, gpu):
        return f"Card {gpu}"

    def nvmlDeviceGetHandleByUUID(self, uuid):
        return {"GPU-a": 0, "GPU-b": 1}[uuid]

    def read(self):
        self.left -= 1
        if self.left < 0:
            raise self.NVMLError("GPU is lost")

    def nvmlDeviceGetUtilizationRates(self, gpu):
        self.read()
        return types.SimpleNamespace(gpu=10 + gpu)

    def nvmlDeviceGetMemoryInfo(self, gpu):
        return types.SimpleNamespace(used=(3 + gpu) * 2**20, total=80 * 2**30)

    def nvmlDeviceGetPowerUsage(self, gpu):
        if gpu == 1:
            self.asked_power += 1
            raise self.NVMLError_NotSupported
        return 250_500

    def nvmlDeviceGetTemperature(self, gpu, sensor):
        self.left == 0 or gpu == 0 or self.read_all.set()
        return 60 + gpu


@pytest.fixture
def driver(monkeypatch):
    def install(**settings):
        made = Driver(**settings)
        monkeypatch.setitem(sys.modules, "pynvml", made)
        return made

    return install


def recorded(tmp_path, body):
    record("train", {"model": {"name": "lstm"}}, tmp_path, body)
    return find_run(tmp_path, "latest")


def test_two_gpus_one_without_a_power_sensor(tmp_path, driver):
    nvml = driver()

    def body(run):
        run.log("loss", 1.0, 3000)
        with sampled_gpus(run, ["GPU-b", "GPU-a"], 0.01):
            assert nvml.read_all.wait(PATIENCE)
            nvml.read_all.clear()
            assert nvml.read_all.wait(PATIENCE)

    run = recorded(tmp_path, body)
    last = {name: series.values[-1] for name, series in run.metrics.items() if name.startswith("system/")}
    assert last == {
        "system/gpu0/utilization": 11.0,
        "system/gpu0/memory_mib": 4.0,
        "system/gpu0/temperature_c": 61.0,
        "system/gpu1/utilization": 10.0,
        "system/gpu1/memory_mib": 3.0,
        "system/gpu1/power_w": 250.5,
        "system/gpu1/temperature_c": 60.0,
    }
    assert run.metrics["system/gpu0/utilization"].steps[-1] <= run.duration
    assert run.last_step == 3000
    assert (nvml.asked_power, nvml.open) == (1, 0)
    assert {
        "driver": "580.1",
        "gpus": [{"name": "Card 0", "memory_mib": 81920}, {"name": "Card 1", "memory_mib": 81920}],
    }.items() <= run.host["nvidia"].items()


def test_a_driver_that_fails_in_the_middle_gives_one_warning(tmp_path, driver, caplog):
    nvml = driver(breaks_after=3)

    def body(run):
        with sampled_gpus(run, ["GPU-a", "GPU-b"], 0.001):
            until(lambda: nvml.left < 0 and not nvml.open and "GPU is lost" in caplog.text)

    run = recorded(tmp_path, body)
    (told,) = [entry.getMessage() for entry in caplog.records if "GPUs" in entry.getMessage()]
    assert "GPU is lost" in told
    assert (run.status, run.metrics["system/gpu1/utilization"].values[0]) == ("COMPLETED", 11.0)


def test_a_machine_without_nvml(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with sampled_gpus(None, [], 0.001), sampled_gpus(None, ["GPU-a"], None):  # nothing to sample
        assert not any(thread.name == "gpu-sampler" for thread in threading.enumerate())
    with sampled_gpus(None, ["GPU-a"], 0.001):
        until(lambda: "GPU" in caplog.text)
    assert sum("GPU" in entry.getMessage() for entry in caplog.records) == 1
    assert nvidia() is None


def test_a_training_on_the_cpu_records_its_speed(tmp_path):
    result = train(
        {
            "data": {"name": "reference.tiny:TanhDataset", "segment_length": 2048, "batch_size": 2},
            "model": {"name": "tcn", "num_blocks": 1, "channel_width": 2},
            "loss": ["l1"],
            "metrics": ["esr"],
            "train": {"max_steps": 4, "validate_every": 1, "accelerator": "cpu"},
            "track": {"runs_dir": str(tmp_path)},
        }
    )
    run = find_run(tmp_path, result.id)
    assert [name for name in run.metrics if name.startswith("system/")] == ["system/rank0/samples_per_second"]
    speeds = run.metrics["system/rank0/samples_per_second"]
    assert speeds.steps == run.metrics["validation/loss"].steps == [1, 2, 3, 4]  # none replaces another
    assert all(2 * 2048 / run.duration < speed for speed in speeds.values)
    assert run.last_step == 4
    assert not any("memory" in name for name in run.summary)


def test_a_sample_is_recorded_at_its_second_of_running(driver):
    nvml, steps = driver(), set()
    run = types.SimpleNamespace(elapsed=7.9, log=lambda name, value, step: steps.add(step))
    with sampled_gpus(run, ["GPU-a", "GPU-b"], 0.01):
        assert nvml.read_all.wait(PATIENCE)
    assert steps == {7}


class Clocked:
    """Run whose elapsed seconds the test sets; `logged` has the steps and values of one metric."""

    def __init__(self):
        self.elapsed, self.logged = 0.0, []

    def log(self, name, value, step):
        if name == "system/gpu0/utilization":
            self.logged.append((step, value))


def test_the_mean_of_the_samples_of_a_second_is_recorded():
    run = Clocked()
    sampler = devices._Sampler(run, ["GPU-a"], 0.25)
    readings = iter([10, 20, 60, 5, 1])
    nvml = types.SimpleNamespace(NVMLError_NotSupported=Driver.NVMLError_NotSupported)
    for second in (0.1, 0.4, 0.9, 1.2, 3.0):
        run.elapsed = second
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(devices, "_FIGURES", {"utilization": lambda nvml, gpu: next(readings)})
            sampler._sample(nvml, [0])
    sampler._record()
    assert run.logged == [(0, 30.0), (1, 5.0), (3, 1.0)]


def test_a_resumed_run_does_not_replace_the_samples_that_came_after_the_last_heartbeat(tmp_path):
    folder = tmp_path / "run"

    def killed(run):  # the record says 0 s of running, as after a kill before the first heartbeat
        run.log("system/gpu0/power_w", 100.0, 8)
        run.log("loss", 1.0, 5000)
        shutil.copytree(run.folder, folder, ignore=shutil.ignore_patterns("lock.*"))

    record("train", {}, tmp_path / "runs", killed)
    entry = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**entry, "status": "INTERRUPTED"}))
    elapsed = record("train", {}, tmp_path, lambda run: run.elapsed, run_id="run", resume=True)
    assert 9.0 <= elapsed < 5000


def test_the_largest_memory_of_each_process_is_kept(monkeypatch):
    peaks = iter([(100.0, 40.0), (60.0, 70.0)])
    monkeypatch.setattr(machine_use, "gathered", lambda value: [(value[0], peak) for peak in next(peaks)])
    use = machine_use.MachineUse(None)
    for _ in range(2):
        use.on_validation_start(None, types.SimpleNamespace(device=torch.device("cpu")))
    assert use.peaks == {"peak_memory_mib/gpu0": 100.0, "peak_memory_mib/gpu1": 70.0}
