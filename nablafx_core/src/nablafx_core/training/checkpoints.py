"""Checkpoints, from which a training continues after it was stopped or killed."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint

from nablafx_core.bundles.torch_file import UnreadableError, read_torch_file
from nablafx_core.errors import RunError
from nablafx_core.files import opened, replace_bytes
from nablafx_core.hints import Once

_log = logging.getLogger(__name__)
LAST, PREVIOUS, DAMAGED = (f"checkpoints/{name}.ckpt" for name in ("last", "previous", "damaged"))
"""Where they are in a run's folder: the last, the one before it, and one that was found damaged."""

#: What each has: parts of Lightning's, and callbacks without whose state a training would go on differently.
_PARTS = ("state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks", "global_step")
_CALLBACKS = ("RandomStates", "SaveCheckpoints", "TimeLimit")


class SaveCheckpoints(Checkpoint):
    """Writes a checkpoint at the end of each epoch, when the validation is over and the states of all are settled.

    It says whether the training is over, by early stopping or by its minutes, so that a resumed one is over too.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LAST
        self._over = False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Write; Lightning calls this kind of callback last."""
        self._over = trainer.should_stop
        trainer.save_checkpoint(self.path)

    def state_dict(self) -> dict[str, Any]:
        """For checkpoints."""
        return {"over": self._over}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """From a checkpoint."""
        trainer.should_stop = checkpoint["callbacks"][self.state_key]["over"]


class CheckpointFiles(TorchCheckpointIO):
    """Checkpoints that appear whole or not at all, and on the disk before the last but one goes.

    (Lightning's own goes through the folder for temporary files, often on another disk, and is copied from there.)
    A failure to write is reported once; the last checkpoint that was written stays, and the training goes on.
    """

    def __init__(self) -> None:
        self._once = Once()

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint; the one that is there becomes the previous one."""
        checkpoint = {**checkpoint, "callbacks": self._readable(checkpoint["callbacks"])}
        content, path = io.BytesIO(), Path(path)
        torch.save(checkpoint, content)
        fresh = path.with_name("next.ckpt")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_bytes(fresh, content.getbuffer(), sync=True)
            if path.exists():
                os.replace(path, path.with_name(Path(PREVIOUS).name))
            os.replace(fresh, path)
        except OSError as error:
            self._tell(
                "disk",
                f"{path}: the checkpoint cannot be written ({error.strerror or error}). The training goes on, the last "
                "checkpoint is kept, and the next ones are tried.",
            )

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint, on the CPU; nothing in it is executed.

        Raises:
            RunError: if it cannot be read.
        """
        try:
            content: dict[str, Any] = read_torch_file(Path(path), objects=False)
        except (UnreadableError, OSError) as error:
            raise RunError(f"{path}: the checkpoint cannot be read: {error}.") from error
        return content

    def _readable(self, states: Mapping[str, Any]) -> dict[str, Any]:
        """The states of callbacks that a resume can read without unpickling; another would spoil the whole file."""
        readable = {}
        for name, state in states.items():
            content = io.BytesIO()
            try:
                torch.save(state, content)
                read_torch_file(content, objects=False)
            except Exception as error:  # whatever its objects raise
                kind = type(error).__name__
                self._tell(
                    name,
                    f"the state of callback {name} is left out of checkpoints: it holds more than tensors, numbers, "
                    f"strings, lists and dicts ({kind}).",
                )
            else:
                readable[name] = state
        return readable

    def _tell(self, what: str, message: str) -> None:
        if self._once.first(what):
            _log.warning(message)


def newest_checkpoint(folder: Path) -> Path | None:
    """Newest usable checkpoint of a run, or None if none was written yet; warn about damaged ones.

    Raises:
        RunError: if there are some but none is usable, or it was written by a different version of the code.
    """
    found = [path for path in (folder / LAST, folder / PREVIOUS) if os.path.lexists(path)]
    for path in found:
        problem = _problem(path)
        if problem is None:
            return path
        _log.warning("%s: is not used: %s.", path, problem)
    if found:
        raise RunError(
            f"the run {folder.name} cannot be resumed: no checkpoint of it can be used. Train anew with "
            f"{folder}/config.yaml; --init {folder} starts from its best model, if it has one."
        )
    return None


def set_damaged_aside(folder: Path, good: Path) -> None:
    """Rename a damaged last checkpoint, which would replace `good` at the next writing; log its new name.

    Raises:
        RunError: if it cannot be renamed.
    """
    last, aside = folder / LAST, folder / DAMAGED
    if good == last or not os.path.lexists(last):
        return
    try:
        os.replace(last, aside)
    except OSError as error:
        raise RunError(f"{last}: is damaged and cannot be renamed to {aside.name}: {error.strerror}.") from error
    _log.warning("%s: is kept as %s.", last, aside.name)


def _problem(path: Path) -> str | None:
    """Return what is wrong with a checkpoint, or None; nothing in it is executed.

    Raises:
        RunError: if it is whole, but not one of this code's.
    """
    try:
        opened(path).close()
        checkpoint = read_torch_file(path, objects=False)
    except OSError as error:
        return f"it cannot be read ({error.strerror or error})"
    except UnreadableError as error:
        return str(error)
    _check_parts(path, checkpoint)
    return None


def _check_parts(path: Path, checkpoint: Any) -> None:
    has = checkpoint if isinstance(checkpoint, Mapping) else {}
    missing = [name for name in _PARTS if name not in has]
    missing += [f"callbacks.{name}" for name in _CALLBACKS if not missing and name not in has["callbacks"]]
    if missing:
        raise RunError(
            f"{path}: was written by a different version of the code: it has no {', '.join(missing)}. Install the "
            f"version of the packs that `nablafx runs show` names, or train anew: --init {path.parent.parent}."
        )
