"""Find the run that a training resumes, and its experiment."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from nablafx_core.config import Experiment, load_experiment
from nablafx_core.errors import RunError
from nablafx_core.registry.import_paths import code_of_run
from nablafx_core.runs.moved_data import check_overrides
from nablafx_core.runs.records import find_run, list_runs
from nablafx_core.training.processes import RUN_VARIABLE, is_first_process


def resumable(run_id: str, runs_dir: Path, overrides: Sequence[str] = ()) -> tuple[str, Experiment]:
    """Return the full id and the experiment of a run to resume; ``"latest"`` is the newest training.

    Args:
        run_id: id of a run, or its first characters.
        runs_dir: folder of the runs.
        overrides: new locations of the data and other observers, in the form of ``--set``.

    Raises:
        RunError: if no run matches, or several do, or the run is not a training, is finished or has no file
            ``config.yaml``.
        ConfigError: if an override sets anything else, or the recorded experiment is not valid any more.
    """
    check_overrides(overrides)
    if not is_first_process():  # "latest" may be another run now than when rank 0 looked it up
        run_id = os.environ.get(RUN_VARIABLE, run_id)
    trainings = [run.id for run in list_runs(runs_dir) if run.command == "train"]
    found = find_run(runs_dir, trainings[0] if run_id == "latest" and trainings else run_id)
    if found.command not in ("train", None):
        raise RunError(
            f"the run {found.id} is not a training: `nablafx {found.command}` made it. Write the id of a training; "
            "`nablafx runs` lists all runs."
        )
    if found.status == "COMPLETED":
        raise RunError(f"the run {found.id} is finished. To train its model further, use --init {found.folder}.")
    if not os.path.isfile(found.folder / "config.yaml"):
        raise RunError(f"the run {found.id} cannot be resumed: {found.folder} has no file config.yaml.")
    sections = {"track": {"runs_dir": str(runs_dir)}}
    config, code = found.folder / "config.yaml", code_of_run(found.folder, overrides)
    return found.id, load_experiment([config], overrides, sections, code=code)


def resumed_folder(runs_dir: Path, run_id: str) -> Path:
    """Return the folder of a run to resume, which every process of the training must see.

    Args:
        runs_dir: folder of the runs.
        run_id: id of the run, or its first characters.

    Raises:
        RunError: if no run matches, or several do.
    """
    try:
        return find_run(runs_dir, run_id).folder
    except RunError as error:
        if is_first_process():
            raise
        needed = "To resume, all processes must see the runs folder: it must be on a disk that all hosts share."
        raise RunError(f"{error} {needed}") from error
