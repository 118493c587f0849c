"""What a training keeps on the disk: the best model, and checkpoints to go on from."""

from __future__ import annotations

import copy
import io
import logging
import math
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, Trainer
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from nablafx_core.errors import BundleError
from nablafx_core.export.bundle import save_bundle
from nablafx_core.interfaces import Model
from nablafx_core.tracking.files import replace_bytes

_log = logging.getLogger(__name__)


class KeepBest(Callback):
    """Writes the model with the lowest validation loss so far to a bundle.

    What the disk refuses is held in memory, told once, and written when the disk takes it.

    Attributes:
        best: the figures of that validation, with its ``step``.
    """

    def __init__(self, path: Path, info: dict[str, Any]) -> None:
        self.path = path
        self.info = info
        self.best: dict[str, float] = {}
        self._waiting: Model | None = None
        self._told = False

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Compare, and write."""
        figures = pl_module.validation
        if figures["loss"] < self.best.get("loss", math.inf):
            self.best = {**figures, "step": trainer.global_step}
            self._waiting = pl_module.model
        if self._waiting is not None:
            try:
                self._write(self._waiting)
            except BundleError as error:
                self._waiting = copy.deepcopy(self._waiting).cpu()
                if not self._told:
                    self._told = True
                    _log.warning("%s The best model is held in memory and written as soon as there is room.", error)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Write what is still held.

        Raises:
            BundleError: if the disk refuses it still.
        """
        if self._waiting is not None:
            self._write(self._waiting)

    def _write(self, model: Model) -> None:
        save_bundle(model, self.path, {**self.info, "validation": self.best})
        self._waiting = None

    def state_dict(self) -> dict[str, Any]:
        """For checkpoints."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.best = state_dict["best"]


class CheckpointFiles(TorchCheckpointIO):
    """Checkpoints that appear whole or not at all, beside the file that they replace.

    (Lightning's own goes through the folder for temporary files, often on another disk, and is copied from there.)
    What the disk refuses is told once; the last checkpoint that was written stays, and the training goes on.
    """

    def __init__(self) -> None:
        self._told = False

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint."""
        content = io.BytesIO()
        torch.save(checkpoint, content)
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            replace_bytes(Path(path), content.getbuffer())
        except OSError as error:
            if not self._told:
                self._told = True
                _log.warning(
                    "%s: the checkpoint cannot be written (%s). The training goes on, the last checkpoint is kept, and "
                    "the next ones are tried.",
                    path,
                    error.strerror or error,
                )
