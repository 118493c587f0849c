"""Run a command under Sacred, and record it in a run folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from nablafx_core.errors import ConfigError, RunError
from nablafx_core.interrupts import is_interrupt
from nablafx_core.quiet_sacred import LOGGER, NAME, Experiment, host_info_gatherer
from nablafx_core.registry.building import build
from nablafx_core.runs import environment
from nablafx_core.runs.folder import FolderObserver
from nablafx_core.runs.guard import Guarded
from nablafx_core.runs.ids import new_folder
from nablafx_core.runs.plain import plain
from nablafx_core.runs.process import only_process, still_running
from nablafx_core.runs.records import RunRecord, find_run
from nablafx_core.runs.rows import RECORDED
from nablafx_core.runs.run import Run
from nablafx_core.runs.signals import Interrupts

__all__ = ["MONGO_VARIABLE", "Run", "record"]

MONGO_VARIABLE = "NABLAFX_MONGO_URL"
"""Environment variable that names the MongoDB which keeps a copy of every run."""

#: Built through the registry, because only the command line imports the code of MongoDB.
_MONGO = "nablafx_core.mongo.mongo_observer:MongoObserver"

T = TypeVar("T")


def record(
    command: str,
    config: Mapping[str, Any],
    runs_dir: Path,
    body: Callable[[Run], T],
    run_id: str | None = None,
    resume: bool = False,
    observers: Sequence[Any] = (),
    mongo: str | None = None,
    **recorded: Any,
) -> T:
    """Run `body` and record it in ``runs_dir/ID``.

    The run ends COMPLETED; INTERRUPTED by a KeyboardInterrupt or, in the main thread, by Ctrl-C or SIGTERM (see
    `Interrupts`), raised here as KeyboardInterrupt even if Lightning has turned it into a SystemExit; or FAILED by any
    other exception, which is raised here unchanged.

    Sacred seeds `random`, numpy and, if it is imported, torch with ``seed``, else ``train.seed``, else 0, before
    `body` starts, also when the run is resumed. A body that needs other states, such as a resumed training, must set
    them itself.

    Args:
        command: name of the command, such as ``"train"``.
        config: validated experiment in plain values; it is not changed.
        runs_dir: folder of the run folders; created if missing.
        body: function to run; it receives the `Run`.
        run_id: id of the new run, a generated one if None; or the run to resume, as for `find_run`.
        resume: continue the run `run_id` in its folder; values logged again replace the earlier ones.
        observers: Sacred observers in addition to the run folder. If one raises, a warning is logged once and the run
            continues.
        mongo: MongoDB that keeps a copy: a URL or the name of a profile; ``""`` for the address in the environment or
            in the user's config file, if there is one; None for no copy. The run continues if the server does not
            answer.
        recorded: values of the fields of `Row` in `RECORDED`: ``parent="ID"``, the run that starts this one. A resumed
            run keeps the first values of those that are declared as kept, such as `parent`.

    Returns:
        Result of `body`.

    Raises:
        RunError: if the config cannot be recorded, the folder cannot be written, the id of a new run exists or is
            invalid, or the run to resume is not given, does not exist, is damaged or is still running.
        ConfigError: if `mongo` is not a string, or not an address or a profile that can be used.
        TypeError: if `recorded` has a name that is not in `RECORDED`.
    """
    if unknown := sorted({*recorded} - {*RECORDED}):
        raise TypeError(f"record() has no argument {unknown[0]!r}. Recorded fields are {', '.join(RECORDED)}.")
    if mongo is not None and not isinstance(mongo, str):
        raise ConfigError(f"mongo: expected a URL, the name of a profile, '' or None, got {mongo!r:.40}.")
    settings = plain(config, "config")
    folder = _resumed_folder(Path(runs_dir), run_id) if resume else new_folder(Path(runs_dir), run_id)
    with _discard_if_never_started(folder, resume), only_process(folder), Interrupts() as interrupts:
        previous = _resumable(folder) if resume else None
        observer = FolderObserver(folder, settings, previous.entry if previous else None)
        outcome: list[T] = []

        def main(_run: Any) -> Any:  # the name makes Sacred fill it with its own run
            try:
                outcome.append(body(Run(folder, observer, _run)))
            except SystemExit as error:
                if is_interrupt(error):
                    interrupts.arm()
                    raise KeyboardInterrupt from error
                raise
            finally:
                interrupts.ended = True
            return _run.result

        experiment = _experiment(command, main, settings)
        copies = [] if mongo is None else [build("observer", {"name": _MONGO, "address": mongo}, folder=observer)]
        guarded = [one if isinstance(one, Guarded) else Guarded(one) for one in (*copies, *observers)]
        for one in guarded:
            one.start = 1 + (len(previous.resumed) + 1 if previous else 0)
        experiment.observers += [observer, *guarded]
        experiment.run(
            info=previous.info if previous else {},
            meta_info={"packs": environment.packs(), **recorded},
            options={"--id": folder.name, "--capture": "no"},
        )
    return outcome[0]


@contextmanager
def _discard_if_never_started(folder: Path, resume: bool) -> Iterator[None]:
    """Remove the folder of a new run if its record cannot be written, for example on a full disk."""
    try:
        yield
    except BaseException:
        if not resume and not (folder / "run.json").exists():
            shutil.rmtree(folder, ignore_errors=True)
        raise


class _Experiment(Experiment):
    def get_experiment_info(self) -> dict[str, Any]:
        """Return name and git state of the working directory under Sacred's keys; those for paths are empty."""
        state = environment.git_state(Path.cwd())
        repositories = [{"url": environment.git_url(Path.cwd()), **state}] if state else []
        known = {"name": self.path, "repositories": repositories}
        return {"base_dir": "", "sources": [], "dependencies": [], "mainfile": None, **known}


def _experiment(command: str, main: Callable[[Any], Any], settings: dict[str, Any]) -> Any:
    facts = {"torch_version": environment.torch_version, "nvidia": environment.nvidia}
    gatherer: Any = host_info_gatherer  # untyped in Sacred
    host = [gatherer(name=name)(fact) for name, fact in facts.items()]
    experiment: Any = _Experiment(NAME, interactive=True, save_git_info=False, additional_host_info=host)
    experiment.logger = LOGGER
    experiment.add_config({**settings, "seed": _seed(settings)})
    main.__name__ = command
    experiment.main(main)
    return experiment


def _seed(settings: dict[str, Any]) -> int:
    """Return the seed for Sacred, which would otherwise draw one: ``seed``, else ``train.seed``, else 0, below 2^32."""
    train = settings.get("train")
    seed = settings.get("seed", train.get("seed") if isinstance(train, dict) else None)
    return seed % 2**32 if isinstance(seed, int) else 0  # numpy accepts 32 bits


def _resumed_folder(runs_dir: Path, run_id: str | None) -> Path:
    if run_id is None:
        raise RunError("a run to resume requires its id. Pass run_id.")
    return find_run(runs_dir, run_id).folder


def _resumable(folder: Path) -> RunRecord:
    """Return the record of a run to resume; the caller must hold its lock. Raise RunError if damaged or running."""
    run = RunRecord.read(folder)
    if run.damage:
        raise RunError(f"the run {run.id} cannot be resumed: {run.damage}")
    if run.status == "RUNNING":
        raise RunError(still_running(run.id))
    return run
