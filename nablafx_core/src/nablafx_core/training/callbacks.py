"""Callbacks of a training: recording, the learning rate, early stopping, the time limit."""

from __future__ import annotations

import math
import time
from typing import Any

from lightning import Callback, Trainer
from lightning.pytorch import callbacks

from nablafx_core.bundles.loading import BUNDLE_IN_RUN
from nablafx_core.data.segments import Segment
from nablafx_core.errors import TrainingError
from nablafx_core.runs.recorder import Run
from nablafx_core.training.processes import gathered
from nablafx_core.training.task import BrokenStep, TrainingTask

#: Clock of `TimeLimit`, in seconds.
now = time.monotonic

#: Number of batches between two records of the training loss; reading it makes a GPU wait.
RECORD_EVERY = 20


class RecordFigures(Callback):
    """Write losses, validation figures and the learning rate into the run's record; stop at a NaN or infinite loss.

    Rank 0 then raises TrainingError and the other ranks SystemExit, all before the next checkpoint is written, so that
    the last one is good.

    Args:
        run: the run's record on rank 0; None on the other ranks.
    """

    def __init__(self, run: Run | None) -> None:
        self.run = run

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Record the mean losses since the last record, every `RECORD_EVERY` batches.

        Raises:
            TrainingError: if a loss since the last record was NaN or infinite (on other ranks than 0, SystemExit).
        """
        if (batch_idx + 1) % RECORD_EVERY == 0:
            self._record(trainer, pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Record the losses of the remaining batches, before the next checkpoint.

        Raises:
            TrainingError: as `on_train_batch_end` does.
        """
        self._record(trainer, pl_module)

    def _record(self, trainer: Trainer, task: TrainingTask) -> None:
        means = task.mean_losses()
        found = gathered((means, self._broken(trainer, task)))
        for name in means:
            value = sum(losses[name] for losses, _ in found) / len(found)
            self._log(f"train/{name}", value, trainer.global_step)
        broken = [broken for _, broken in found if broken is not None]
        if broken:
            raise self._error(min(broken)[1])

    def _broken(self, trainer: Trainer, task: TrainingTask) -> tuple[int, str] | None:
        """Return the first step since the last record whose loss was NaN or infinite, and a message, or None."""
        broken = task.broken_step()
        if broken is None:
            return None
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        where = _input_of(broken, data.segments_of(broken.batch))
        return broken.step, f"the training loss was NaN or infinite at step {broken.step}, {where}"

    def _log(self, name: str, value: float, step: int) -> None:
        if self.run is not None:
            self.run.log(name, value, step)

    def _error(self, message: str) -> BaseException:
        """Return the exception that ends this process: TrainingError on rank 0, SystemExit on the other ranks."""
        if self.run is None:
            return SystemExit(1)
        if not (self.run.folder / BUNDLE_IN_RUN).is_file():
            kept = "No model has been saved yet. Lower train.learning_rate or train.gradient_clip_val."
        else:
            kept = (
                f"The best model and the last good checkpoint are kept. To continue from the best model, use --init "
                f"{self.run.folder} and lower train.learning_rate or train.gradient_clip_val."
            )
        return TrainingError(f"{message} {kept}")

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Record the figures of the validation, and the learning rate.

        Raises:
            TrainingError: if the validation loss is NaN or infinite (on other ranks than 0, SystemExit).
        """
        for name, value in pl_module.validation.items():
            self._log(f"validation/{name}", value, trainer.global_step)
        self._log("learning_rate", float(trainer.optimizers[0].param_groups[0]["lr"]), trainer.global_step)
        if not math.isfinite(pl_module.validation["loss"]):
            raise self._error(
                f"the validation loss was NaN or infinite at step {trainer.global_step}, but the training loss was "
                "finite: the last step broke the weights, or a validation recording is unlike the training recordings."
            )


def _input_of(broken: BrokenStep, segments: list[Segment]) -> str:
    if len(broken.items) == broken.batch_size > 1:
        return f"for all {broken.batch_size} segments of its batch: the previous step broke the weights."
    named = [segments[item] for item in broken.items[:3]]
    places = ", ".join(f"{s.recording.name} (samples {s.start:,} to {s.stop:,})" for s in named)
    more = f" and {len(broken.items) - 3} more" if len(broken.items) > 3 else ""
    return f"for {places}{more}, {len(broken.items)} of {broken.batch_size} segments of its batch."


class CosineSchedule(Callback):
    """Set the learning rate to initial min(1, (step + 1) / warm_up) (1 + cos(pi done)) / 2.

    Loshchilov and Hutter, "SGDR", 2017, without restarts. `initial` is the ``initial_lr`` of each parameter group,
    `step` the number of optimiser steps so far. `done` is the larger of step / max_steps and elapsed time / time limit,
    at most 1.

    Args:
        limit: time limit of the training; it counts the time.
        max_steps: last step of the training; None for no limit.
        warm_up: number of steps over which the learning rate rises; 0 for none.
    """

    def __init__(self, limit: TimeLimit, max_steps: int | None, warm_up: int) -> None:
        self.limit = limit
        self.max_steps = math.inf if max_steps is None else max_steps
        self.warm_up = warm_up

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: Any, optimizer: Any) -> None:
        """Set the learning rate of every parameter group before each optimiser step."""
        done = min(1.0, max(trainer.global_step / self.max_steps, self.limit.elapsed / self.limit.limit))
        rise = min(1.0, (trainer.global_step + 1) / max(1, self.warm_up))
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = group["initial_lr"] * rise * (1 + math.cos(math.pi * done)) / 2


class EarlyStopping(callbacks.EarlyStopping):
    """End a training whose validation loss does not improve.

    Only validations count that are due after ``train.validate_every`` steps or at the end, not those that are due by
    time; see `nablafx_core.training.epochs.Epochs`.

    Args:
        validations: number of validations that count, without improvement, after which the training ends.
    """

    def __init__(self, validations: int) -> None:
        super().__init__("validation/loss", patience=validations, check_on_train_epoch_end=False)

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """If the validation counts, compare its loss with the best, and end the training if patience is exhausted."""
        if pl_module.counts:
            super().on_validation_end(trainer, pl_module)


class EndEarly(Callback):
    """Let a caller that compares trainings, such as a sweep, end this one as if its last step were done.

    The run becomes COMPLETED, keeps its best model, records the reason as `stopped_early`, and is not tested.

    Attributes:
        reason: reason why the training was ended; None if `end` was not called.
    """

    reason: str | None = None

    def end(self, trainer: Trainer, reason: str) -> None:
        """End the training after the current batch or validation.

        Args:
            trainer: trainer of the training.
            reason: reason for the record.
        """
        self.reason = reason
        trainer.should_stop = True


class TimeLimit(Callback):
    """End the training after a number of minutes; validations and the training time before a resume count.

    Args:
        minutes: limit in minutes; None for no limit.
        shared: if true, all processes use the clock of rank 0 even without a limit; with a limit, they always do.

    Attributes:
        limit: limit in seconds; infinity for no limit.
        elapsed: seconds of training up to the last batch, including those before a resume.
    """

    def __init__(self, minutes: float | None, shared: bool = False) -> None:
        self.shared = shared or minutes is not None
        self.limit = math.inf if minutes is None else 60 * minutes
        self.elapsed = 0.0
        self._last = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Start the clock."""
        self._last = now()

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Add the time since the last batch, and stop the training above the limit; Lightning validates once more."""
        here = now()
        self.elapsed += here - self._last
        self._last = here
        if self.shared:  # stopping, validating and the learning rate follow the clock of rank 0 in all processes
            self.elapsed = trainer.strategy.broadcast(self.elapsed)
            trainer.should_stop |= self.elapsed > self.limit

    def state_dict(self) -> dict[str, Any]:
        """Return the elapsed time, for checkpoints."""
        return {"elapsed": self.elapsed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the elapsed time from a checkpoint."""
        self.elapsed = state_dict["elapsed"]
