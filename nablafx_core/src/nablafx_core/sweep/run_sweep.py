"""Run a sweep, and record it as a run whose children are the trials."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nablafx_core.errors import TrainingError
from nablafx_core.registry.import_paths import remember
from nablafx_core.runs.recorder import MONGO_VARIABLE, Run, record
from nablafx_core.sweep.decisions import Decisions
from nablafx_core.sweep.quiet_ray import check_address, explained, ray_session, require_ray
from nablafx_core.sweep.resuming import Plan
from nablafx_core.sweep.trial_book import FINISHED, Book, Entry, new_entries
from nablafx_core.sweep.trials import Trial

#: Seconds that trials have to end by themselves before their processes are killed; their checkpoints remain.
_PATIENCE = 30.0


@dataclass(frozen=True)
class SweepResult:
    """Result of a sweep.

    Args:
        id: id of the sweep's run.
        folder: folder of the sweep's run.
        metric: metric by which trials are compared.
        trials: all trials, the best first.
        best: best trial that completed or was stopped early and has a value of the metric.
    """

    id: str
    folder: Path
    metric: str
    trials: list[Entry]
    best: Entry


def run_sweep(
    plan: Plan,
    address: str | None = None,
    say: Callable[[str], None] = lambda text: None,
    mongo: str | None = None,
) -> SweepResult:
    """Run the trials of a sweep that are not finished, and record the sweep as a run.

    At Ctrl-C the trials are told to end, which takes at most 30 s each, and KeyboardInterrupt is raised; the sweep can
    then be resumed.

    Args:
        plan: sweep to run.
        address: address of a Ray cluster; None runs the trials on this machine.
        say: function that is called with each line for the user.
        mongo: MongoDB that keeps copies of the sweep and of its trials, as for `record`. Ray writes its arguments to
            the disk, so it must not receive a password: a URL is set as `NABLAFX_MONGO_URL` in this process, and the
            trials look up the address where they run.

    Raises:
        ConfigError: if Ray is not installed, the cluster cannot be used, or no machine has the resources of a trial.
        RunError: if the sweep or one of its trials is still running, or its record cannot be written.
        TrainingError: if no trial that completed or was stopped early has a value of the metric.
        NablafxError: if Ray fails.
    """
    require_ray()
    check_address(address)
    if mongo is not None and "://" in mongo:
        os.environ[MONGO_VARIABLE] = mongo  # inherited by the processes on this machine
        mongo = ""
    return record(
        "sweep",
        plan.sweep.record(),
        plan.runs_dir,
        lambda run: _Running(plan, run, say, mongo).result(address),
        run_id=plan.resume,
        resume=plan.resume is not None,
        mongo=mongo,
    )


class _Running:
    def __init__(self, plan: Plan, run: Run, say: Callable[[str], None], mongo: str | None) -> None:
        settings = plan.sweep.settings
        self.plan = plan
        self.run = run
        self.say = say
        self.mongo = mongo
        self.decisions = Decisions(run.folder)
        entries = plan.entries or new_entries(plan.trials)
        self.book = Book(plan.runs_dir, settings.metric, settings.mode, entries)
        self.count = len(plan.trials)

    def result(self, address: str | None) -> SweepResult:
        self.decisions.begin()
        self.book.settle()
        remember(self.run.id, self.plan.sweep.record())
        self.run.set_info("space", self.plan.sweep.record()["sweep"]["space"])
        self._note()
        finished = [entry for entry in self.book.entries if entry.status in FINISHED]
        done = f", {len(finished)} of them finished" if finished else ""
        self.say(f"Sweep  {self.run.id} in {self.run.folder}: {self.count} trials{done}")
        if len(finished) < self.count:
            with ray_session(address, self.plan.sweep.resources) as folder:
                shared = self.run.folder.resolve() / "tune"  # all machines of a cluster must have access to it
                try:
                    self._run_trials(finished, folder if address is None else shared)
                finally:
                    shutil.rmtree(shared, ignore_errors=True)
        return self._summary()

    def _run_trials(self, finished: list[Entry], folder: Path) -> None:
        from nablafx_core.sweep.scheduling import Asha, Everything, run_trials

        scheduler, stopper = None, Everything()
        if self.plan.sweep.settings.search == "asha":
            scheduler = Asha(self.plan.sweep, max(trial.validations for trial in self.plan.trials), self.decisions.stop)
            for entry in finished:
                scheduler.recall(entry.number, self.book.values(entry.number))
        numbers = {entry.number for entry in finished}
        tasks = [self._task(trial) for trial in self.plan.trials if trial.number not in numbers]
        errors: list[BaseException] = []
        over = threading.Event()

        def work() -> None:
            try:
                run_trials(tasks, self.plan.sweep, scheduler, folder, self._ended, stopper)
            except BaseException as error:
                errors.append(error)
            finally:
                over.set()

        # In a separate thread, so that Ctrl-C interrupts waiting for Tune, but not Tune itself.
        threading.Thread(target=work, name="sweep", daemon=True).start()
        try:
            over.wait()
        except KeyboardInterrupt:
            self._interrupt()
            stopper.set = True
            over.wait(_PATIENCE)
            raise
        if errors:
            raise explained(errors[0]) from errors[0]

    def _interrupt(self) -> None:
        self.say("Stopping the trials; they can be resumed.")
        self.decisions.interrupt()
        for entry in self.book.entries:
            self.book.wait(entry.number, _PATIENCE)
        self._note()

    def _task(self, trial: Trial) -> Any:
        from nablafx_core.sweep.trial import Task

        config = trial.experiment.config
        train = dict(config["train"])
        if train["threads"] is None:
            train["threads"] = self.plan.sweep.resources.cpus
        track = {**config["track"], "runs_dir": str(self.plan.runs_dir)}
        experiment = replace(trial.experiment, config={**config, "train": train, "track": track})
        run_id = self.book.entries[trial.number - 1].id
        sweep = self.plan.sweep.settings
        return Task(trial.number, run_id, self.run.folder.resolve(), experiment, sweep.metric, Path.cwd(), self.mongo)

    def _ended(self, number: int, report: dict[str, Any] | None) -> None:
        died = "its process was killed, perhaps because there was not enough memory"
        entry = self.book.refresh(number, report.get("failure") if report else died)
        self._note()
        self.say(progress_line(entry, self.plan.sweep.settings.metric, self.count))

    def _note(self) -> None:
        self.run.set_info("trials", self.book.plain())

    def _summary(self) -> SweepResult:
        for entry in self.book.entries:
            if entry.status not in FINISHED:
                self.book.refresh(entry.number, entry.error)
        self._note()
        metric, best = self.plan.sweep.settings.metric, self.book.best()
        statuses = [entry.status for entry in self.book.entries]
        counts = {"completed": statuses.count("COMPLETED"), "stopped_early": statuses.count("STOPPED")}
        counts["failed"] = self.count - sum(counts.values())
        self.run.summary(
            {"trials": self.count, **counts, **({metric: best.value} if best and best.value is not None else {})}
        )
        if best is None:
            first = next((entry for entry in self.book.entries if entry.error), None)
            reason = f" Trial {first.number}: {first.error}" if first else ""
            raise TrainingError(
                f"none of the {self.count} trials of the sweep {self.run.id} completed with a value of "
                f"{metric}.{reason}"
            )
        self.run.set_info("best", {"number": best.number, "id": best.id, "set": list(best.set), "value": best.value})
        return SweepResult(self.run.id, self.run.folder, metric, self.book.ranked(), best)


def progress_line(entry: Entry, metric: str, count: int) -> str:
    """Return one line about a trial that has ended; `count` is the number of all trials."""
    value = "" if entry.value is None else f"  {metric} {entry.value:.4g}"
    time = "" if entry.seconds is None else f"  {entry.seconds:.1f} s"
    words = {"COMPLETED": "", "STOPPED": f"  stopped after validation {entry.validations}"}
    end = words.get(entry.status, f"  {entry.status}{': ' + entry.error if entry.error else ''}")
    return f"Trial {entry.number} of {count}  {'  '.join(entry.set)}{value}{time}{end}"
