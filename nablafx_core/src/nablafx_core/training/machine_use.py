"""Record the speed and the peak GPU memory of each training process."""

from __future__ import annotations

import time
from typing import Any

import torch
from lightning import Callback, Trainer

from nablafx_core.runs.recorder import Run
from nablafx_core.training.processes import gathered


class MachineUse(Callback):
    """Record `system/rankN/samples_per_second` at each validation: audio samples trained per second since the last one.

    The figures are recorded at optimiser steps, as other figures of a validation.

    This callback must come after `RecordFigures`, which reads the losses of the last step: only then has a GPU
    finished.

    Args:
        run: the run's record on rank 0; None on the other ranks.

    Attributes:
        peaks: peak GPU memory in MiB of each rank, by the name of the figure; empty on the CPU.
    """

    def __init__(self, run: Run | None) -> None:
        self.run = run
        self.peaks: dict[str, float] = {}
        self._samples = 0
        self._began = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Start counting samples and time; the time of validations is not counted."""
        self._samples, self._began = 0, time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count the samples of a batch, without waiting for the device."""
        self._samples += batch.wet.numel()

    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Record speed and peak memory; all processes must call this together."""
        speed = self._samples / max(time.monotonic() - self._began, 1e-9)
        for rank, (one, peak) in enumerate(gathered((speed, _peak_mib(pl_module.device)))):
            if self.run is not None:
                self.run.log(f"system/rank{rank}/samples_per_second", one, trainer.global_step)
            if peak is not None:
                name = f"peak_memory_mib/gpu{rank}"
                self.peaks[name] = max(peak, self.peaks.get(name, 0.0))

    def state_dict(self) -> dict[str, Any]:
        """Return the peaks, for checkpoints."""
        return {"peaks": self.peaks}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the peaks from a checkpoint."""
        self.peaks = state_dict["peaks"]


def _peak_mib(device: torch.device) -> float | None:
    return torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None


def gpu_uuids(trainer: Trainer) -> list[str]:
    """Return the NVML UUIDs of the GPUs in use on this host, in the order of the training."""
    strategy: Any = trainer.strategy
    devices = getattr(strategy, "parallel_devices", None) or [strategy.root_device]
    return [
        f"GPU-{torch.cuda.get_device_properties(device).uuid}".replace("GPU-GPU-", "GPU-")
        for device in devices
        if device.type == "cuda"
    ]
