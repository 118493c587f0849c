"""What a sweep is going to do, known before Ray, torch or Sacred are imported."""

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
        sweep: its settings.
        trials: all of them, checked.
        runs_dir: absolute; holds the runs of the sweep and of the trials.
        resume: id of the sweep's run, if that exists.
        entries: of a sweep that is resumed.
    """

    sweep: Sweep
    trials: list[Trial]
    runs_dir: Path
    resume: str | None = None
    entries: tuple[Entry, ...] = ()


def resumable_sweep(run_id: str, runs_dir: Path) -> Plan:
    """A sweep that was interrupted, as its record holds it; ``"latest"`` is the newest.

    Raises:
        RunError: if there is no such sweep, or it is finished.
        ConfigError: if its trials are no experiments any more, as after another pack was installed.
    """
    sweeps = [run.id for run in list_runs(runs_dir) if run.command == "sweep"]
    found = find_run(runs_dir, sweeps[0] if run_id == "latest" and sweeps else run_id)
    if found.command != "sweep":
        raise RunError(f"the run {found.id} is a {found.command or 'run'} and no sweep.")
    if found.status == "COMPLETED":
        raise RunError(f"the sweep {found.id} is finished. `nablafx runs show {found.id}` lists what it found.")
    sweep = recorded_sweep(found.config, Provenance.of_run(found.folder), code_of_run(found.folder))
    entries = recorded_entries(found.info.get("trials"), is_run_id)
    made = checked(sweep, [entry.set for entry in entries]) if entries else trials(sweep)
    return Plan(sweep, made, runs_dir.resolve(), found.id, tuple(entries))
