"""Checkpoints, from which a stopped or killed training is resumed."""

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
"""Paths in a run's folder: the last checkpoint, the one before it, and a damaged one (see `set_damaged_aside`)."""

#: Required parts of a checkpoint, and callbacks without whose state a resumed training would give other weights.
_PARTS = ("state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks", "global_step")
_CALLBACKS = ("RandomStates", "SaveCheckpoints", "TimeLimit")


class SaveCheckpoints(Checkpoint):
    """Write a checkpoint at the end of each epoch, after the validation and after all other callbacks.

    The checkpoint records whether the training was to end there, such as by early stopping or the time limit; a
    training that is resumed from it then ends, too.

    Args:
        folder: folder of the run; the checkpoint is its file ``checkpoints/last.ckpt``.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LAST
        self._over = False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Write the checkpoint and, in it, whether the training ends now.

        Lightning calls callbacks of the class Checkpoint after all others, so that their decisions are included.
        """
        self._over = trainer.should_stop
        trainer.save_checkpoint(self.path)

    def state_dict(self) -> dict[str, Any]:
        """Return for the checkpoint whether the training was to end when it was written."""
        return {"over": self._over}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """End the resumed training if it was to end when the checkpoint was written."""
        trainer.should_stop = checkpoint["callbacks"][self.state_key]["over"]


class CheckpointFiles(TorchCheckpointIO):
    """Write checkpoints atomically: a new one is complete on the disk before an old one is replaced.

    The last checkpoint and the one before it are kept. If one cannot be written, a warning is logged once, the last
    checkpoint stays, and the training continues. (Lightning's own plugin writes to the folder for temporary files,
    often on another disk, and copies the file from there.)
    """

    def __init__(self) -> None:
        self._once = Once()

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint; an existing one at `path` becomes ``previous.ckpt`` beside it.

        States of callbacks that could not be read without unpickling are left out. If the disk refuses the file, only
        log a warning, once.
        """
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
            self._warn_once(
                "disk",
                f"{path}: the checkpoint cannot be written ({error.strerror or error}). The last checkpoint is kept, "
                "the training continues, and writing is tried again at the next checkpoint.",
            )

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint to the CPU, whatever `map_location` and `weights_only` are; execute nothing in it.

        Raises:
            RunError: if it cannot be read, is damaged, or contains objects.
        """
        try:
            content: dict[str, Any] = read_torch_file(Path(path), objects=False)
        except (UnreadableError, OSError) as error:
            raise RunError(f"{path}: the checkpoint cannot be read: {error}.") from error
        return content

    def _readable(self, states: Mapping[str, Any]) -> dict[str, Any]:
        """Return the states of callbacks that can be read without unpickling; log a warning, once, for each other one.

        A single other state would make the whole file unreadable.
        """
        readable = {}
        for name, state in states.items():
            content = io.BytesIO()
            try:
                torch.save(state, content)
                read_torch_file(content, objects=False)
            except Exception as error:  # any exception of pickled objects
                kind = type(error).__name__
                self._warn_once(
                    name,
                    f"the state of callback {name} is left out of checkpoints: it contains more than tensors, numbers, "
                    f"strings, lists and dicts ({kind}).",
                )
            else:
                readable[name] = state
        return readable

    def _warn_once(self, what: str, message: str) -> None:
        if self._once.first(what):
            _log.warning(message)


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the path of a run's last checkpoint, or of the one before it if the last is damaged.

    Return None if the run has no checkpoint. Log a warning about a damaged one.

    Args:
        folder: folder of the run.

    Raises:
        RunError: if there are checkpoints but all are damaged, or one was written by a different version of the code.
    """
    found = [path for path in (folder / LAST, folder / PREVIOUS) if os.path.lexists(path)]
    for path in found:
        problem = _problem(path)
        if problem is None:
            return path
        _log.warning("%s: this checkpoint is skipped: %s.", path, problem)
    if found:
        raise RunError(
            f"the run {folder.name} cannot be resumed: all its checkpoints are damaged. Train again with "
            f"{folder}/config.yaml; add --init {folder} to start from its best model, if it has one."
        )
    return None


def set_damaged_aside(folder: Path, good: Path) -> None:
    """Rename a damaged last checkpoint to ``damaged.ckpt``, and log that.

    Otherwise, it would replace `good`, the checkpoint before it, at the next write. Do nothing if `good` is the last
    checkpoint, or there is no last one.

    Args:
        folder: folder of the run.
        good: checkpoint that is used, from `newest_checkpoint`.

    Raises:
        RunError: if it cannot be renamed.
    """
    last, aside = folder / LAST, folder / DAMAGED
    if good == last or not os.path.lexists(last):
        return
    try:
        os.replace(last, aside)
    except OSError as error:
        raise RunError(
            f"{last}: is damaged and cannot be renamed to {aside.name}: {error.strerror}. Rename or remove it, and "
            "resume again."
        ) from error
    _log.warning("%s: the damaged checkpoint is kept as %s.", last, aside.name)


def _problem(path: Path) -> str | None:
    """Return what is wrong with a checkpoint, or None if it is usable; execute nothing in it.

    Raises:
        RunError: if it is not damaged, but was written by a different version of the code.
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
            f"version of the packs that `nablafx runs show` names, or train again from the run's best model: --init "
            f"{path.parent.parent}."
        )
