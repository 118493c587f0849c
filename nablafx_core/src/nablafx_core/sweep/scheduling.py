"""Run trials with Ray Tune. This module imports Ray, so it is imported only while a sweep runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

from ray import tune
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from nablafx_core.sweep.sweep_file import Sweep
from nablafx_core.sweep.trial import Report, Task, TrialThread

#: Function that is called with the number of a trial that has ended and its last report (None if its process died).
Ended = Callable[[int, Report | None], None]


class Actor(tune.Trainable):
    """A trial in its own process; each step ends with a validation, or with the end of the training."""

    def setup(self, config: dict[str, Any], tasks: Mapping[int, Task] = MappingProxyType({})) -> None:
        """Start the training of the task whose number is ``config["number"]``."""
        self._trial = TrialThread(tasks[config["number"]])

    def step(self) -> Report:
        """Train until the next validation or the end, and return the report, see `TrialThread.next`."""
        return self._trial.next()

    def cleanup(self) -> None:
        """Wait until the trial's run has ended."""
        self._trial.close()


class _Unstored:
    """Object that is pickled without its state: Tune pickles it, but the state cannot be pickled and is never read."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Asha(_Unstored, ASHAScheduler):
    """ASHA scheduler that tells trials to end by themselves, so that their runs are recorded completely.

    Args:
        sweep: sweep with the metric and the rungs.
        validations: number of validations of the longest trial. The last one is not a rung, because stopping there
            saves no time.
        stop: function that is called with the number of a trial that must end.
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
        """Pass on a decision to stop the trial, and let Tune continue it until it ends by itself."""
        if super().on_trial_result(tune_controller, trial, result) == TrialScheduler.STOP:
            self._stop(trial.config["number"])
        return str(TrialScheduler.CONTINUE)

    def recall(self, number: int, values: Sequence[float]) -> None:
        """Add the values of a trial that ended before a resume, one per validation in order, to the rungs."""
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
    """Stopper that ends all trials when `set` is true."""

    def __init__(self) -> None:
        self.set = False

    def __call__(self, trial_id: str, result: Report) -> bool:
        """Return false, because single trials end by themselves."""
        return False

    def stop_all(self) -> bool:
        """Return true if all trials must end."""
        return self.set


def run_trials(
    tasks: Sequence[Task], sweep: Sweep, scheduler: Asha | None, folder: Path, ended: Ended, stopper: Everything
) -> None:
    """Run trials, in order, as many at a time as the sweep and the resources allow.

    Args:
        tasks: trials to run.
        sweep: sweep with the resources of each trial and the number of concurrent trials.
        scheduler: scheduler that stops trials early; None runs every trial to its end.
        folder: folder for Tune's files.
        ended: function that is called in this thread when a trial has ended.
        stopper: stopper that ends all trials once its `set` is true.
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
