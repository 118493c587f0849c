"""Record the use of a run's GPUs over time, read in the background through NVML."""

from __future__ import annotations

import logging
import statistics
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from nablafx_core.runs.folder import SAMPLED
from nablafx_core.runs.run import Run

_log = logging.getLogger(__name__)

#: Functions that read each figure from NVML, by the figure's name.
_FIGURES: dict[str, Callable[[Any, Any], float]] = {
    "utilization": lambda nvml, gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu,
    "memory_mib": lambda nvml, gpu: nvml.nvmlDeviceGetMemoryInfo(gpu).used / 2**20,
    "power_w": lambda nvml, gpu: nvml.nvmlDeviceGetPowerUsage(gpu) / 1000,
    "temperature_c": lambda nvml, gpu: nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU),
}


@contextmanager
def sampled_gpus(run: Run, uuids: Sequence[str], seconds: float | None) -> Iterator[None]:
    """Record the use of GPUs during the block, as metrics ``system/gpuN/…`` over whole seconds of running.

    The metrics are `utilization` in %, `memory_mib`, `power_w` and `temperature_c`; those that a card does not support
    are left out. The mean of all samples within one second is recorded. Sampling never raises: if NVML fails, one
    warning is logged and sampling ends.

    Args:
        run: run that uses the GPUs.
        uuids: NVML UUIDs of the GPUs; N counts them from 0. Without any, nothing is recorded.
        seconds: seconds between two samples; None for no sampling.
    """
    sampler = _Sampler(run, uuids, seconds) if uuids and seconds is not None else None
    if sampler is not None:
        sampler.start()
    try:
        yield
    finally:
        if sampler is not None:
            sampler.stop()


class _Sampler(threading.Thread):
    """Thread that samples the GPUs of a run every `seconds` until `stop`."""

    def __init__(self, run: Run, uuids: Sequence[str], seconds: float) -> None:
        super().__init__(name="gpu-sampler", daemon=True)
        self._run = run
        self._uuids = uuids
        self._seconds = seconds
        self._over = threading.Event()
        self._unsupported: set[tuple[int, str]] = set()
        self._given_up = False
        self._second = 0
        self._values: dict[str, list[float]] = {}

    def stop(self) -> None:
        """End sampling; wait at most 2 s for the last record, because a driver may hang."""
        self._over.set()
        self.join(timeout=2.0)
        self._given_up = self.is_alive()

    def run(self) -> None:
        """Sample until `stop`."""
        try:
            import pynvml  # type: ignore[import-untyped]

            pynvml.nvmlInit()
        except Exception as error:  # no library, no driver, or a driver that does not match the library
            self._warn(error)
            return
        try:
            gpus = [pynvml.nvmlDeviceGetHandleByUUID(uuid) for uuid in self._uuids]
            while not self._over.is_set():
                self._sample(pynvml, gpus)
                self._over.wait(self._seconds)
        except Exception as error:
            self._warn(error)
        finally:
            with suppress(Exception):
                self._record()
            with suppress(Exception):
                pynvml.nvmlShutdown()

    def _sample(self, nvml: Any, gpus: Sequence[Any]) -> None:
        if int(self._run.elapsed) != self._second:
            self._record()
            self._second = int(self._run.elapsed)
        for number, gpu in enumerate(gpus):
            for name, ask in _FIGURES.items():
                if (number, name) in self._unsupported:
                    continue
                try:
                    value = ask(nvml, gpu)
                except nvml.NVMLError_NotSupported:
                    self._unsupported.add((number, name))
                    continue
                self._values.setdefault(f"{SAMPLED}{number}/{name}", []).append(value)
        if self._seconds >= 1:  # no other sample falls into this second
            self._record()

    def _record(self) -> None:
        """Record the mean of each figure's samples within the current second; discard them after `stop` gave up."""
        for name, values in self._values.items():
            if not self._given_up:
                self._run.log(name, statistics.fmean(values), self._second)
        self._values = {}

    def _warn(self, error: Exception) -> None:
        what = f"{type(error).__name__}: {error}"
        _log.warning("the use of the GPUs is no longer recorded (%s). The run continues.", what)
