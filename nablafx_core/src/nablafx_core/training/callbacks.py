"""Callbacks between the steps of a training: recording, the learning rate, the time limit."""

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

#: Batches between two records of the training loss; reading it makes a GPU wait.
RECORD_EVERY = 20


class RecordFigures(Callback):
    """Writes losses and figures into the run's record, and stops a training whose loss is NaN or infinite.

    It stops before the next checkpoint is written, so that the last one is good, and all processes together.

    Args:
        run: the record; None in all processes but the first.
    """

    def __init__(self, run: Run | None) -> None:
        self.run = run

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Every few batches: the mean losses since the last record."""
        if (batch_idx + 1) % RECORD_EVERY == 0:
            self._record(trainer, pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:
        """The rest, before the next checkpoint."""
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
        """Return the first step whose loss was NaN or infinite, and the message about it."""
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
        """Return the exception that ends this process; rank 0 raises the message, the other ranks exit quietly."""
        if self.run is None:
            return SystemExit(1)
        if not (self.run.folder / BUNDLE_IN_RUN).is_file():
            kept = "There was no validation before. Lower train.learning_rate or train.gradient_clip_val."
        else:
            kept = (
                f"The best model and the last good checkpoint are kept. Go on from them with --init {self.run.folder} "
                "and a lower train.learning_rate or train.gradient_clip_val."
            )
        return TrainingError(f"{message} {kept}")

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """The figures of the validation, and the learning rate.

        Raises:
            TrainingError: if its loss is NaN or infinite.
        """
        for name, value in pl_module.validation.items():
            self._log(f"validation/{name}", value, trainer.global_step)
        self._log("learning_rate", float(trainer.optimizers[0].param_groups[0]["lr"]), trainer.global_step)
        if not math.isfinite(pl_module.validation["loss"]):
            raise self._error(
                f"the validation loss was NaN or infinite at step {trainer.global_step}, but the training loss was "
                "finite: the last step broke the weights, or a validation recording is unlike those of the training."
            )


def _input_of(broken: BrokenStep, segments: list[Segment]) -> str:
    if len(broken.items) == broken.batch_size > 1:
        return f"for all {broken.batch_size} segments of its batch: the step before broke the weights."
    named = [segments[item] for item in broken.items[:3]]
    places = ", ".join(f"{s.recording.name} (samples {s.start:,} to {s.stop:,})" for s in named)
    more = f" and {len(broken.items) - 3} more" if len(broken.items) > 3 else ""
    return f"for {places}{more}, {len(broken.items)} of {broken.batch_size} segments of its batch."


class CosineSchedule(Callback):
    """Learning rate = initial min(1, (step + 1) / warm_up) (1 + cos(pi done)) / 2.

    Loshchilov and Hutter, "SGDR", 2017, without restarts. `done` is the part of the training that is over, by steps
    or by minutes, whichever ends it earlier.

    Args:
        limit: limit of the training by minutes.
        max_steps: last step of the training; None for no limit.
        warm_up: steps over which the rate rises.
    """

    def __init__(self, limit: TimeLimit, max_steps: int | None, warm_up: int) -> None:
        self.limit = limit
        self.max_steps = math.inf if max_steps is None else max_steps
        self.warm_up = warm_up

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: Any, optimizer: Any) -> None:
        """Set the learning rate of every group, for each step of a batch."""
        done = min(1.0, max(trainer.global_step / self.max_steps, self.limit.elapsed / self.limit.limit))
        rise = min(1.0, (trainer.global_step + 1) / max(1, self.warm_up))
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = group["initial_lr"] * rise * (1 + math.cos(math.pi * done)) / 2


class EarlyStopping(callbacks.EarlyStopping):
    """Ends a training whose validation loss does not improve; only validations at multiples of the interval count.

    Args:
        validations: number of validations without improvement.
    """

    def __init__(self, validations: int) -> None:
        super().__init__("validation/loss", patience=validations, check_on_train_epoch_end=False)

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Compare the loss with the best one, and end the training if patience is exhausted."""
        if pl_module.counts:
            super().on_validation_end(trainer, pl_module)


class EndEarly(Callback):
    """Lets what compares trainings end this one in order, as after its last step.

    Its run is COMPLETED, keeps its best model, notes the reason as `stopped_early`, and is not tested.

    Attributes:
        reason: why it ends; None while it goes on.
    """

    reason: str | None = None

    def end(self, trainer: Trainer, reason: str) -> None:
        """End it after what is going on now; to be called between two batches."""
        self.reason = reason
        trainer.should_stop = True


class TimeLimit(Callback):
    """Ends training after some minutes, validation included; the time before a resume counts.

    Args:
        minutes: limit in minutes; None for no limit.
        shared: all processes use the clock of rank 0, even without a limit.

    Attributes:
        limit: limit in seconds; infinity for none.
        elapsed: seconds of training so far.
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
        """Stop when the time is over; Lightning validates once more."""
        here = now()
        self.elapsed += here - self._last
        self._last = here
        if self.shared:  # all processes stop, validate and lower the learning rate by the clock of rank 0
            self.elapsed = trainer.strategy.broadcast(self.elapsed)
            trainer.should_stop |= self.elapsed > self.limit

    def state_dict(self) -> dict[str, Any]:
        """For checkpoints."""
        return {"elapsed": self.elapsed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.elapsed = state_dict["elapsed"]
