"""Speed of each training process, and its largest use of GPU memory."""

from __future__ import annotations

import time
from typing import Any

import torch
from lightning import Callback, Trainer

from nablafx_core.runs.recorder import Run
from nablafx_core.training.processes import gathered


class MachineUse(Callback):
    """Records `system/rankN/samples_per_second` at each validation: the samples of audio trained per second before it.

    Its steps are those of the optimiser, as for other figures of a validation.

    It must come after `RecordFigures`, which has just read the losses of the last step: only then is a GPU done.

    Args:
        run: the record; None in all processes but the first.

    Attributes:
        peaks: of GPU memory in MiB by rank; empty on the CPU.
    """

    def __init__(self, run: Run | None) -> None:
        self.run = run
        self.peaks: dict[str, float] = {}
        self._samples = 0
        self._began = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Begin to count; validations are left out."""
        self._samples, self._began = 0, time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count the samples of a batch; nothing waits for the device."""
        self._samples += batch.wet.numel()

    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Record; all processes call it together."""
        speed = self._samples / max(time.monotonic() - self._began, 1e-9)
        for rank, (one, peak) in enumerate(gathered((speed, _peak_mib(pl_module.device)))):
            if self.run is not None:
                self.run.log(f"system/rank{rank}/samples_per_second", one, trainer.global_step)
            if peak is not None:
                name = f"peak_memory_mib/gpu{rank}"
                self.peaks[name] = max(peak, self.peaks.get(name, 0.0))

    def state_dict(self) -> dict[str, Any]:
        """For checkpoints."""
        return {"peaks": self.peaks}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From a checkpoint."""
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
