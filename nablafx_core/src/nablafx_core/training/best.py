"""Save the best model of a training as a bundle."""

from __future__ import annotations

import copy
import logging
import math
from pathlib import Path
from typing import Any

from lightning import Callback, Trainer

from nablafx_core.bundles.bundle import check_bundle, save_bundle
from nablafx_core.errors import BundleError, NablafxError
from nablafx_core.hints import Once
from nablafx_core.interfaces import Model

_log = logging.getLogger(__name__)


class KeepBest(Callback):
    """Write the model with the lowest validation loss so far to a bundle.

    If the disk refuses the bundle, a copy of the model is kept in memory, a warning is logged once, and writing is
    tried again after each validation and at the end. Before a training is resumed, call `resume`.

    Args:
        path: path of the bundle.
        info: description of the training for the bundle, with the id of the run as ``run``; the figures of the
            validation are added as ``validation``.

    Attributes:
        best: figures of the validation with the lowest loss, with its ``step``; empty before the first validation.
    """

    def __init__(self, path: Path, info: dict[str, Any]) -> None:
        self.path = path
        self.info = info
        self.best: dict[str, float] = {}
        self._written: dict[str, float] = {}
        self._waiting: Model | None = None
        self._once = Once()

    def resume(self) -> None:
        """Read this run's best figures from the bundle, and remove temporary files that a killed process left.

        The figures in a checkpoint may be older than those in the bundle. If the bundle is missing, damaged or that of
        another run, `best` stays empty.
        """
        for path in self.path.parent.glob(f".{self.path.name}.*.tmp"):
            path.unlink(missing_ok=True)
        try:
            info = check_bundle(self.path).get("info", {})
        except BundleError:
            return
        if info.get("run") == self.info["run"] and "loss" in info.get("validation", {}):
            self.best = self._written = info["validation"]

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Write the model if its validation loss is the lowest so far, else one that could not be written before."""
        figures = pl_module.validation
        if figures["loss"] < self.best.get("loss", math.inf):
            self.best = {**figures, "step": trainer.global_step}
            self._waiting = pl_module.model
        if self._waiting is not None:
            try:
                self._write(self._waiting)
            except BundleError as error:
                self._waiting = copy.deepcopy(self._waiting).cpu()
                if self._once.first():
                    _log.warning("%s The best model is kept in memory and written as soon as there is room.", error)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Write the best model if an earlier attempt failed.

        Raises:
            BundleError: if the disk still refuses it.
        """
        if self._waiting is not None:
            self._write(self._waiting)

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        """If an exception ends the first validation, save the weights to the bundle, unless they are NaN or infinite.

        A warning says whether they were saved.
        """
        if not trainer.validating or self.best or not all(w.isfinite().all() for w in pl_module.model.parameters()):
            return
        try:
            save_bundle(pl_module.model, self.path, {**self.info, "step": trainer.global_step})
        except NablafxError as error:
            _log.warning("%s The weights of step %d are lost.", error, trainer.global_step)
            return
        _log.warning("The weights of step %d, which were not validated, are saved: %s", trainer.global_step, self.path)

    def _write(self, model: Model) -> None:
        save_bundle(model, self.path, {**self.info, "validation": self.best})
        self._waiting, self._written = None, self.best

    def state_dict(self) -> dict[str, Any]:
        """Return the figures of the last bundle written, for checkpoints; a kill loses a better model in memory."""
        return {"best": self._written}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Write the bundle again if `resume` found none and the checkpoint has its weights; else warn that it is lost.

        Do nothing if `resume` found it, or the checkpoint was written before there was one.

        Raises:
            BundleError: if the bundle cannot be written.
        """
        lost = checkpoint["callbacks"].get(self.state_key, {}).get("best")
        if not lost or self.best:
            return
        if lost["step"] == checkpoint["global_step"]:
            self.best, self._waiting = lost, pl_module.model
            self._write(pl_module.model)
        else:
            _log.warning(
                "%s is missing or damaged: the best model, of step %d, is lost. The best model from now on is saved.",
                self.path,
                lost["step"],
            )
