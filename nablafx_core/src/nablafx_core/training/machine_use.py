"""Record the speed and the peak GPU memory of each training process."""

from __future__ import annotations

import time
from typing import Any

import torch
from lightning import Callback, Trainer

from nablafx_core.runs.recorder import Run
from nablafx_core.training.processes import gathered


class MachineUse(Callback):
    """Record the speed of each rank N at each validation, as ``system/rankN/samples_per_second``.

    The speed is the number of samples of the wet signals, of all items and channels, that were trained per second since
    the last validation, without the time of validations.

    This callback must come after `RecordFigures`, which reads the losses of the last step: only then has a GPU
    finished.

    Args:
        run: the run's record on rank 0; None on the other ranks.

    Attributes:
        peaks: peak GPU memory that torch allocated, in MiB, for each rank N as ``peak_memory_mib/gpuN``; empty on
            other devices.
    """

    def __init__(self, run: Run | None) -> None:
        self.run = run
        self.peaks: dict[str, float] = {}
        self._samples = 0
        self._began = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Start counting samples and time again; an epoch begins after each validation."""
        self._samples, self._began = 0, time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count the samples of a batch, without waiting for the device."""
        self._samples += batch.wet.numel()

    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Record the speed and update the peaks; all processes must call this together."""
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
    """Return the NVML UUIDs of the CUDA GPUs that a trainer uses on this host, in its order; empty without any."""
    strategy: Any = trainer.strategy
    devices = getattr(strategy, "parallel_devices", None) or [strategy.root_device]
    return [
        f"GPU-{torch.cuda.get_device_properties(device).uuid}".replace("GPU-GPU-", "GPU-")
        for device in devices
        if device.type == "cuda"
    ]
