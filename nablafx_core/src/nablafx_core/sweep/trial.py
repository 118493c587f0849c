"""Run one trial: a training in a thread, which waits after each validation until the scheduler has decided about it."""

from __future__ import annotations

import os
import queue
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning import Trainer

from nablafx_core.config import Experiment
from nablafx_core.errors import NablafxError, RunError
from nablafx_core.quiet_sacred import SacredInterrupt
from nablafx_core.runs.records import RunRecord
from nablafx_core.sweep.decisions import Decisions
from nablafx_core.training.allocator import keep_freed_memory
from nablafx_core.training.callbacks import EndEarly
from nablafx_core.training.epochs import counted
from nablafx_core.training.fit import train

#: Seconds between two checks whether the sweep was interrupted.
LOOK_EVERY = 0.5

Report = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """Description of a trial for the machine that runs it.

    Args:
        number: number of the trial.
        run_id: id of the trial's run, which is resumed if its folder exists.
        sweep: folder of the sweep's run; the folder of the trial's run is next to it.
        experiment: experiment of the trial.
        metric: metric that is reported, such as ``"validation/loss"``.
        folder: working directory, to which relative paths refer.
        mongo: MongoDB that keeps a copy, as for `record`; its address is looked up where the trial runs.
    """

    number: int
    run_id: str
    sweep: Path
    experiment: Experiment
    metric: str
    folder: Path
    mongo: str | None = None


class Interrupted(SacredInterrupt):
    """Raised in a trial if its sweep was interrupted."""


class Reports(EndEarly):
    """Report each validation and wait for a decision; end the training if the sweep has decided so.

    Args:
        task: trial that runs.
        known: values of the metric by step, from validations before a resume; they are reported first.

    Attributes:
        queue: reports that wait for the scheduler; None is the last, after the end of the run.
        told: event that is set when the scheduler has decided about the last report.
    """

    def __init__(self, task: Task, known: dict[int, float]) -> None:
        self.queue: queue.Queue[Report | None] = queue.Queue()
        self.told = threading.Event()
        self._task = task
        self._decisions = Decisions(task.sweep)
        self._known = known
        self._count = 0
        self._looked = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Report the validations before a resume, until one of them ends the training.

        Raises:
            Interrupted: if the sweep was interrupted.
        """
        for step, value in self._known.items():
            self._report(trainer, step, value)
            if self.reason:
                return

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Check, at most every `LOOK_EVERY` seconds, whether the sweep was interrupted.

        Raises:
            Interrupted: if it was interrupted.
        """
        if time.monotonic() - self._looked > LOOK_EVERY:
            self._looked = time.monotonic()
            self._obey()

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Report the validation if it counts (see `counted`) and was not reported before a resume.

        Raises:
            Interrupted: if the sweep was interrupted.
        """
        if pl_module.counts and trainer.global_step not in self._known:
            name = self._task.metric.removeprefix("validation/")
            self._report(trainer, trainer.global_step, float(pl_module.validation[name]))

    def _report(self, trainer: Trainer, step: int, value: float) -> None:
        self._count += 1
        self.told.clear()
        self.queue.put({"validation": self._count, "step": step, "value": value})
        while not self.told.wait(LOOK_EVERY):
            self._obey()
        self._obey()
        if self._decisions.stops(self._task.number):
            self.end(trainer, f"the sweep {self._task.sweep.name} stopped it after validation {self._count}")

    def _obey(self) -> None:
        if self._decisions.interrupted:
            raise Interrupted


class TrialThread:
    """Trial that runs in a thread from its creation on, and gives one report after the other.

    Args:
        task: trial to run.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._error: str | None = None
        self._last: Report = {}
        keep_freed_memory()
        self._reports = Reports(task, _known(task))
        self._thread = threading.Thread(target=self._run, name=f"trial {task.number}", daemon=True)
        self._thread.start()

    def next(self) -> Report:
        """Let the training continue until its next report, and return it.

        Returns:
            `validation` (counted from 1), `step` and `value`. After the last validation, the last report again with
            `done`, and with `failure` if the trial failed; without any validation, only `done` and `failure`.
        """
        self._reports.told.set()
        report = self._reports.queue.get()
        if report is None:
            self._thread.join()
            return {**self._last, "done": True, "failure": self._error}
        self._last = report
        return report

    def close(self) -> None:
        """Wait until the run has ended; call this only for a trial that has ended or must end."""
        while self._thread.is_alive():
            self._reports.told.set()
            self._thread.join(LOOK_EVERY)

    def _run(self) -> None:
        task = self._task
        try:
            if not Decisions(task.sweep).interrupted:
                _enter(task.folder)
                begun = (task.sweep.parent / task.run_id).exists()
                train(
                    task.experiment,
                    resume=task.run_id if begun else None,
                    run_id=None if begun else task.run_id,
                    callbacks=[self._reports],
                    progress=False,
                    parent=task.sweep.name,
                    mongo=task.mongo,
                )
        except Interrupted:
            self._error = "interrupted"
        except NablafxError as error:
            self._error = str(error)
        except BaseException as error:
            self._error = f"{type(error).__name__}: {error}"
        finally:
            self._reports.queue.put(None)


def _known(task: Task) -> dict[int, float]:
    series = RunRecord.read(task.sweep.parent / task.run_id).metrics.get(task.metric)
    values = dict(zip(series.steps, series.values, strict=True)) if series else {}
    return {step: values[step] for step in counted(values, task.experiment.train.validate_every)}


def _enter(folder: Path) -> None:
    try:
        os.chdir(folder)
    except OSError as error:
        raise RunError(
            f"{folder}: the folder in which the sweep was started is not accessible on this machine "
            f"({error.strerror}). The machines of a cluster must share the folders of the sweep, its data and its runs."
        ) from error
