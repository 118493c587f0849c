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

    If the disk refuses the bundle, the model is kept in memory, a warning is logged once, and writing is tried again
    after each validation. A resumed training reads the best figures from the bundle on the disk, because the bundle
    may be newer than the checkpoint.

    Attributes:
        best: figures of the validation with the lowest loss, with its ``step``.
    """

    def __init__(self, path: Path, info: dict[str, Any]) -> None:
        self.path = path
        self.info = info
        self.best: dict[str, float] = {}
        self._written: dict[str, float] = {}
        self._waiting: Model | None = None
        self._once = Once()

    def resume(self) -> None:
        """Read this run's best figures from the bundle on the disk, and remove temporary files that a kill left."""
        for path in self.path.parent.glob(f".{self.path.name}.*.tmp"):
            path.unlink(missing_ok=True)
        try:
            info = check_bundle(self.path).get("info", {})
        except BundleError:
            return
        if info.get("run") == self.info["run"] and "loss" in info.get("validation", {}):
            self.best = self._written = info["validation"]

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Compare the validation loss with the best one, and write the model if it is lower."""
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
        """Write the best model if it is still only in memory.

        Raises:
            BundleError: if the disk still refuses it.
        """
        if self._waiting is not None:
            self._write(self._waiting)

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        """If the first validation fails, save the weights that it was measuring, unless they are NaN or infinite."""
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
        """Return the figures of the bundle on the disk, for checkpoints; a model in memory is lost by a kill."""
        return {"best": self._written}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Write a missing bundle again if the checkpoint has its weights; else warn."""
        lost = checkpoint["callbacks"].get(self.state_key, {}).get("best")
        if not lost or self.best:
            return
        if lost["step"] == checkpoint["global_step"]:
            self.best, self._waiting = lost, pl_module.model
            self._write(pl_module.model)
        else:
            _log.warning(
                "%s: is missing or damaged; it was the best model, of step %d. The best model from now on is saved.",
                self.path,
                lost["step"],
            )
