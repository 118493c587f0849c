"""Decide when a training validates and when it ends."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from lightning import Callback, Trainer

from nablafx_core.config.schema import TrainSettings
from nablafx_core.training.callbacks import TimeLimit

#: Fraction of `max_minutes` after which ``validate_minutes: auto`` validates.
AUTO_PART = 0.1
#: With ``auto``, minimum seconds of training for each second that the last validation took.
AUTO_RATIO = 5.0


class Epochs(Callback):
    """End each epoch, which starts a validation and then writes a checkpoint, and end the training at its last step.

    An epoch ends at the first batch that reaches a multiple of ``validate_every`` steps, counted from the start of
    the training. If that takes longer than ``validate_minutes``, it ends earlier, unless the time limit is near. An
    early end does not change the weights or the schedules: the next multiple stays where it was, and only validations
    at multiples and at the end count for patience and the plateau. See docs/decisions/0018.

    This callback must come after `clock` in the list of callbacks.

    Args:
        clock: callback that counts the seconds of training; with several processes and a time between validations, it
            must be shared by them.
        settings: settings of the training.
    """

    def __init__(self, clock: TimeLimit, settings: TrainSettings) -> None:
        self.clock = clock
        self.every = settings.validate_every
        self.max_steps = math.inf if settings.max_steps is None else settings.max_steps
        self.ratio = AUTO_RATIO if settings.validate_minutes == "auto" else 0.0
        self.seconds = early_seconds(settings)
        self._step = 0
        self._due = False
        self._began: float | None = None
        self._last = self._cost = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Start counting at the step and the time of the checkpoint; at 0 for a new training."""
        self._step, self._began, self._last = trainer.global_step, self.clock.elapsed, self.clock.elapsed

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """End the epoch after this batch if a validation is due by steps or time; end the training at the last step."""
        step, late = trainer.global_step, self._is_late()
        self._due = step // self.every > self._step // self.every
        self._step = step
        if step >= self.max_steps:
            trainer.should_stop = True
        elif self._due or late:
            # Lightning's own flag of the last batch; a loader without a length never sets it.
            trainer.fit_loop.epoch_loop.batch_progress.is_last_batch = True

    def _is_late(self) -> bool:
        now = self.clock.elapsed
        if self._began is None:  # first batch after a validation, which took the time since the last batch
            self._began, self._cost = now, now - self._last
        self._last = now
        wait = max(self.seconds, self.ratio * self._cost)
        # No early validation shortly before the end, because the end always validates.
        return now - self._began >= wait and now + wait / 2 < self.clock.limit

    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Set the task's `counts`: true if the validation is due by steps, or the training ends.

        Only then it counts for early stopping and the plateau of the learning rate.
        """
        pl_module.counts = self._due or trainer.should_stop

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Count the time until the next early validation from the next batch on."""
        self._began = None


def counted(steps: Iterable[int], every: int) -> list[int]:
    """Return those of the ordered steps of all validations that are the first at or after a multiple of `every`.

    These are the validations due by steps. One at the end of the training, between two multiples, is not among them.
    """
    found, before = [], 0
    for step in steps:
        if step // every > before // every:
            found.append(step)
        before = step
    return found


def early_seconds(settings: TrainSettings) -> float:
    """Return the seconds of training without a validation after which one is started; infinity for never.

    ``validate_minutes: auto`` means a tenth of ``max_minutes``, and never if there is no ``max_minutes``.
    """
    minutes = settings.validate_minutes
    if minutes == "auto":
        minutes = None if settings.max_minutes is None else AUTO_PART * settings.max_minutes
    return math.inf if minutes is None else 60 * minutes
