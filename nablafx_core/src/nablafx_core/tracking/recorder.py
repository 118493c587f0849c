"""Run a command under Sacred, its record in a run folder."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from nablafx_core.errors import RunError
from nablafx_core.tracking import environment
from nablafx_core.tracking._sacred import Experiment, HostInfoGetter
from nablafx_core.tracking.folder import FolderObserver
from nablafx_core.tracking.guard import Guarded
from nablafx_core.tracking.ids import new_folder
from nablafx_core.tracking.plain import plain
from nablafx_core.tracking.process import only_process
from nablafx_core.tracking.records import RunRecord, find_run
from nablafx_core.tracking.run import Run

__all__ = ["Run", "record"]

T = TypeVar("T")


def record(
    command: str,
    config: Mapping[str, Any],
    runs_dir: Path,
    body: Callable[[Run], T],
    run_id: str | None = None,
    resume: bool = False,
    observers: Sequence[Any] = (),
) -> T:
    """Run `body` and keep its record in ``runs_dir/ID``.

    It ends COMPLETED; INTERRUPTED by a KeyboardInterrupt or, in the main thread, by SIGTERM, both of which leave
    here as KeyboardInterrupt (Lightning makes a SystemExit of it; that is undone); or FAILED by any other
    exception, which leaves here unchanged.

    Sacred seeds `random`, numpy and, if it is imported, torch with ``seed``, else ``train.seed``, else 0, before
    `body` begins, resumed or not. What needs more (a training that resumes) seeds itself after.

    Args:
        command: such as ``"train"``.
        config: the validated experiment in plain values; it is not changed.
        runs_dir: where run folders are; made if missing.
        body: what is run; it receives the `Run`.
        run_id: a fresh one if None.
        resume: continue the run `run_id` in its folder; values logged again replace the earlier ones.
        observers: Sacred observers beside the run folder. One that raises is told once and stops nothing.

    Returns:
        What `body` returns.

    Raises:
        RunError: if the config cannot be recorded, the folder cannot be written, or the run to resume does not
            exist or is still running.
    """
    settings = plain(config, "config")
    folder = find_run(runs_dir, run_id or "").folder if resume else new_folder(Path(runs_dir), run_id)
    with only_process(folder), _sigterm_interrupts() as finishing:
        observer = FolderObserver(folder, settings, _resumable(folder) if resume else None)
        outcome: list[T] = []

        def main(_run: Any) -> Any:  # the name makes Sacred fill it with its own run
            try:
                outcome.append(body(Run(folder, observer, _run)))
            except SystemExit as error:
                if _is_interrupt(error):
                    raise KeyboardInterrupt from error
                raise
            finally:
                finishing.set()
            return _run.result

        experiment = _experiment(command, main, settings)
        experiment.observers += [observer, *map(Guarded, observers)]
        experiment.run(options={"--id": folder.name, "--capture": "no"}, meta_info={"packs": environment.packs()})
    return outcome[0]


def _experiment(command: str, main: Callable[[Any], Any], settings: dict[str, Any]) -> Any:
    state = environment.git_state(Path.cwd())
    hosts = [HostInfoGetter(environment.torch_version, "torch_version"), HostInfoGetter(environment.nvidia, "nvidia")]
    experiment = _Experiment("nablafx", interactive=True, save_git_info=False, additional_host_info=hosts)
    experiment.repositories = [state] if state else []
    experiment.logger = logging.getLogger("nablafx_core.tracking.sacred")
    experiment.logger.setLevel(logging.CRITICAL)  # it repeats what the exception, or the guard, says
    seed = settings.get("seed", _section(settings, "train").get("seed"))
    experiment.add_config({**settings, "seed": seed if isinstance(seed, int) else 0})
    main.__name__ = command
    experiment.main(main)
    return experiment


def _section(settings: dict[str, Any], name: str) -> dict[str, Any]:
    section = settings.get(name)
    return section if isinstance(section, dict) else {}


class _Experiment(Experiment):
    repositories: list[dict[str, Any]]

    def get_experiment_info(self) -> dict[str, Any]:
        """Sacred's keys, without the paths of this machine."""
        return {
            "name": self.path,
            "base_dir": "",
            "sources": [],
            "dependencies": [],
            "repositories": self.repositories,
            "mainfile": None,
        }


def _resumable(folder: Path) -> Mapping[str, Any]:
    """The record of a run that can be resumed; called with its lock held."""
    run = RunRecord.read(folder)
    if run.damage:
        raise RunError(f"the run {run.id} cannot be resumed: {run.damage}")
    if run.status == "RUNNING":
        raise RunError(f"the run {run.id} is still running. Stop it before you resume it.")
    return run.entry


def _is_interrupt(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


@contextmanager
def _sigterm_interrupts() -> Iterator[threading.Event]:
    """Make SIGTERM a KeyboardInterrupt until the event is set, then hold it back until the block has ended."""
    finishing = threading.Event()
    held: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # Python lets no other thread handle signals
        yield finishing
        return

    def on_sigterm(number: int, frame: Any) -> None:
        if finishing.is_set():
            held.append(number)
        else:
            raise KeyboardInterrupt("SIGTERM")

    previous = signal.signal(signal.SIGTERM, on_sigterm)
    try:
        yield finishing
    finally:
        signal.signal(signal.SIGTERM, previous)
    if held:
        signal.raise_signal(signal.SIGTERM)
