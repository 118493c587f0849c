"""Keep the states of random generators in checkpoints, so that a resumed training gives the same weights."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from lightning import Callback, Trainer

from nablafx_core.training.processes import gathered


class RandomStates(Callback):
    """Keep the states of torch's, numpy's and Python's global random generators of every process in the checkpoints.

    The states before a validation are set again at the start of the next epoch, so that it makes no difference to the
    weights when a training validates. After a resume, the states of the checkpoint are set at the start of the first
    epoch: after all code that seeds or draws while a training starts, and before any code that draws during it. This
    must therefore be the first callback.
    """

    def __init__(self) -> None:
        self._kept: dict[str, Any] | None = None
        self._loaded: list[dict[str, Any]] = []

    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Store the states at the start of the validation."""
        self._kept = random_states()

    def state_dict(self) -> dict[str, Any]:
        """Return the states of all ranks, for checkpoints; all processes must call this together."""
        return {"ranks": gathered(self._kept or random_states())}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the states of all ranks from a checkpoint; the next epoch sets them."""
        self._loaded = state_dict["ranks"]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Set the states of the checkpoint, or else those before the last validation; do nothing without either.

        A rank that did not exist when the checkpoint was written keeps its own states.
        """
        if trainer.global_rank < len(self._loaded):
            self._kept = self._loaded[trainer.global_rank]
        if self._kept is not None:
            set_random_states(self._kept)
        self._kept, self._loaded = None, []


def random_states() -> dict[str, Any]:
    """Return the states of torch, numpy and `random` as plain values, which can be read without unpickling.

    The state of CUDA is that of the current GPU; None if this process has not used CUDA.
    """
    version, words, gauss = random.getstate()
    numpy: Any = np.random.get_state()  # noqa: NPY002 - packs draw from this global generator
    return {
        "random": [version, list(words), gauss],
        "numpy": [numpy[0], torch.from_numpy(numpy[1].astype(np.int64)), *numpy[2:]],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if _uses_cuda() else None,  # only the GPU of this process
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Set the states that `random_states` returned; that of CUDA only if this process has used CUDA."""
    version, words, gauss = states["random"]
    random.setstate((version, tuple(words), gauss))
    kind, key, *rest = states["numpy"]
    np.random.set_state((kind, key.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    if states["cuda"] is not None and _uses_cuda():
        torch.cuda.set_rng_state(states["cuda"])


def _uses_cuda() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]
