"""Ray Tune runs the trials. Only while a sweep runs is this imported, since it imports Ray."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

from ray import tune
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from nablafx_core.sweep.sweep_file import Sweep
from nablafx_core.sweep.trial import Report, Task, TrialThread

#: Called with the number of a trial and its last report (None if its process died) when it has ended.
Ended = Callable[[int, Report | None], None]


class Actor(tune.Trainable):
    """A trial in a process of its own; a step is a validation."""

    def setup(self, config: dict[str, Any], tasks: Mapping[int, Task] = MappingProxyType({})) -> None:
        """Begin the training."""
        self._trial = TrialThread(tasks[config["number"]])

    def step(self) -> Report:
        """Train until the next validation, or the end."""
        return self._trial.next()

    def cleanup(self) -> None:
        """Wait for the end of the run."""
        self._trial.close()


class _Unstored:
    """Tune stores what it works with, as pickles. Nothing here reads them, and these parts cannot be stored."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Asha(_Unstored, ASHAScheduler):
    """ASHA whose trials end by themselves when it has decided so, in order and with their record.

    Args:
        sweep: says the metric and the rungs.
        validations: of the longest trial. The last one is no rung: it is too late then to save anything.
        stop: called with the number of a trial that is to end.
    """

    def __init__(self, sweep: Sweep, validations: int, stop: Callable[[int], None]) -> None:
        super().__init__(
            time_attr="validation",
            metric="value",
            mode=sweep.settings.mode,
            max_t=validations - 1,
            grace_period=sweep.asha.grace_period,
            reduction_factor=sweep.asha.reduction_factor,
            stop_last_trials=False,
        )
        self._stop = stop

    def on_trial_result(self, tune_controller: Any, trial: Any, result: Report) -> str:
        """Note a decision to stop."""
        if super().on_trial_result(tune_controller, trial, result) == TrialScheduler.STOP:
            self._stop(trial.config["number"])
        return str(TrialScheduler.CONTINUE)

    def recall(self, number: int, values: Sequence[float]) -> None:
        """Let a trial that ended before a resume count, as if it had just reported its validations."""
        trial = SimpleNamespace(trial_id=f"recalled {number}", config={"number": number})
        self.on_trial_add(None, trial)  # type: ignore[arg-type]
        for validation, value in enumerate(values, 1):
            super().on_trial_result(None, trial, {"validation": validation, "value": value})  # type: ignore[arg-type]


class _Ends(_Unstored, tune.Callback):
    def __init__(self, ended: Ended) -> None:
        self._ended = ended

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._ended(trial.config["number"], dict(trial.last_result))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._ended(trial.config["number"], None)


class Everything(tune.Stopper):
    """Ends all trials once it is set."""

    def __init__(self) -> None:
        self.set = False

    def __call__(self, trial_id: str, result: Report) -> bool:
        """Single trials end by themselves."""
        return False

    def stop_all(self) -> bool:
        """Whether all are to end."""
        return self.set


def run_trials(
    tasks: Sequence[Task], sweep: Sweep, scheduler: Asha | None, folder: Path, ended: Ended, stopper: Everything
) -> None:
    """Run trials, in order, as many at a time as the sweep and the resources allow.

    Args:
        tasks: the trials.
        sweep: says the resources of each and how many run at a time.
        scheduler: None lets every trial run to its end.
        folder: for what Tune writes.
        ended: called in this thread.
        stopper: that ends all.
    """
    resources = {"cpu": float(sweep.resources.cpus), "gpu": float(sweep.resources.gpus)}
    trainable = tune.with_parameters(Actor, tasks={task.number: task for task in tasks})
    tuner = tune.Tuner(
        tune.with_resources(trainable, resources),
        param_space={"number": tune.grid_search([task.number for task in tasks])},
        tune_config=tune.TuneConfig(
            scheduler=scheduler,
            max_concurrent_trials=sweep.settings.concurrent,
            reuse_actors=False,
            trial_dirname_creator=lambda trial: str(trial.config["number"]),
        ),
        run_config=tune.RunConfig(
            name="trials", storage_path=str(folder), verbose=0, callbacks=[_Ends(ended)], stop=stopper
        ),
    )
    tuner.fit()
