"""Plan a sweep, new or resumed, without importing Ray, torch or Sacred."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nablafx_core.errors import RunError
from nablafx_core.registry.import_paths import code_of_run
from nablafx_core.registry.provenance import Provenance
from nablafx_core.runs.ids import is_run_id
from nablafx_core.runs.records import find_run, list_runs
from nablafx_core.sweep.sweep_file import Sweep, recorded_sweep
from nablafx_core.sweep.trial_book import Entry, recorded_entries
from nablafx_core.sweep.trials import Trial, checked, trials


@dataclass(frozen=True)
class Plan:
    """A sweep that is ready to run.

    Args:
        sweep: settings of the sweep.
        trials: all trials, checked.
        runs_dir: absolute path of the folder with the runs of the sweep and of the trials.
        resume: id of the sweep's run to resume; None for a new sweep.
        entries: recorded trials of a sweep to resume; empty if it is new or recorded none.
    """

    sweep: Sweep
    trials: list[Trial]
    runs_dir: Path
    resume: str | None = None
    entries: tuple[Entry, ...] = ()


def resumable_sweep(run_id: str, runs_dir: Path) -> Plan:
    """Return the plan of an interrupted sweep from its record.

    Args:
        run_id: the sweep's run, as for `find_run`, except that ``"latest"`` is the newest sweep.
        runs_dir: folder of the run folders.

    Raises:
        RunError: if no run matches, or several; if it is not a sweep, is finished, or its record is damaged.
        ConfigError: if its record is not that of a sweep, or its trials are no longer valid experiments, for example
            after a pack was changed.
    """
    sweeps = [run.id for run in list_runs(runs_dir) if run.command == "sweep"]
    found = find_run(runs_dir, sweeps[0] if run_id == "latest" and sweeps else run_id)
    if found.command != "sweep":
        what = f"its command is '{found.command}'" if found.command else "its record does not contain its command"
        raise RunError(f"the run {found.id} is not a sweep: {what}.")
    if found.status == "COMPLETED":
        raise RunError(f"the sweep {found.id} is finished. `nablafx runs show {found.id}` shows its results.")
    sweep = recorded_sweep(found.config, Provenance.of_run(found.folder), code_of_run(found.folder))
    entries = recorded_entries(found.info.get("trials"), is_run_id)
    made = checked(sweep, [entry.set for entry in entries]) if entries else trials(sweep)
    return Plan(sweep, made, runs_dir.resolve(), found.id, tuple(entries))
