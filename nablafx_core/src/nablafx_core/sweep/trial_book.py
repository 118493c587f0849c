"""List the trials of a sweep with their settings and results, for the sweep's record.

The result of a trial is read from its own run, so that the list is right after a kill at any moment.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nablafx_core.errors import RunError
from nablafx_core.runs.ids import new_id
from nablafx_core.runs.records import RunRecord
from nablafx_core.sweep.trials import Trial

#: Statuses of trials that a resumed sweep does not run again.
FINISHED = ("COMPLETED", "STOPPED", "FAILED")
#: Seconds in which the trials of a killed sweep end too.
_PATIENCE = 30.0


@dataclass(frozen=True)
class Entry:
    """Settings and result of one trial.

    Args:
        number: number of the trial, counted from 1.
        id: id of the trial's run, also before the run exists.
        set: settings of the trial, in the form of ``--set``.
        status: WAITING (not started), STOPPED (early, by the scheduler), or the status of its run.
        value: value of the sweep's metric in the best validation; None before there is one that is not NaN.
        step: step of the best validation; None before there is one.
        validations: number of validations so far.
        seconds: seconds of running; None before the start.
        error: error of a trial that is FAILED, DIED or DAMAGED; None if it is unknown.
    """

    number: int
    id: str
    set: tuple[str, ...]
    status: str = "WAITING"
    value: float | None = None
    step: int | None = None
    validations: int = 0
    seconds: float | None = None
    error: str | None = None


class Book:
    """All trials of a sweep, with results that are read from their runs when it is created and at each `refresh`.

    Args:
        runs_dir: folder with the runs of the trials.
        metric: metric of the sweep, such as ``"validation/loss"``.
        mode: ``"min"`` or ``"max"``.
        entries: trials of the sweep.
    """

    def __init__(self, runs_dir: Path, metric: str, mode: str, entries: Sequence[Entry]) -> None:
        self._runs_dir = runs_dir
        self._metric = metric
        self._sign = 1 if mode == "min" else -1
        self._entries = {entry.number: entry for entry in entries}
        for entry in entries:
            self.refresh(entry.number)

    @property
    def entries(self) -> list[Entry]:
        """All trials in the order of their numbers."""
        return list(self._entries.values())

    def plain(self) -> list[dict[str, Any]]:
        """Return all trials as plain data for the record."""
        return [{**asdict(entry), "set": list(entry.set)} for entry in self.entries]

    def ranked(self) -> list[Entry]:
        """Return all trials, the best first, those without a value last."""
        return sorted(self.entries, key=lambda entry: (entry.value is None, self._sign * (entry.value or 0)))

    def best(self) -> Entry | None:
        """Return the best trial that completed or was stopped early and has a value; None if there is none."""
        good = [entry for entry in self.ranked() if entry.status in ("COMPLETED", "STOPPED")]
        return good[0] if good and good[0].value is not None else None

    def values(self, number: int) -> list[float]:
        """Return the metric's values in a trial's validations so far, ordered by step."""
        series = self._record(self._entries[number]).metrics.get(self._metric)
        return list(series.values) if series else []

    def refresh(self, number: int, error: str | None = None) -> Entry:
        """Read the run of a trial, and return its new entry.

        Args:
            number: number of the trial.
            error: error that the run's record may not contain; used if the run failed, or if it does not exist, and
                the trial is then FAILED.
        """
        entry = self._entries[number]
        if not (self._runs_dir / entry.id).is_dir():
            new = replace(entry, status="FAILED" if error else "WAITING", error=error)
        else:
            record = self._record(entry)
            stopped = record.status == "COMPLETED" and "stopped_early" in record.info
            best = self._best(record)
            new = replace(
                entry,
                status="STOPPED" if stopped else record.status,
                value=best[0] if best else None,
                step=best[1] if best else None,
                validations=len(record.metrics[self._metric].steps) if self._metric in record.metrics else 0,
                seconds=record.duration,
                error=(error or record.error) if record.status in ("FAILED", "DIED", "DAMAGED") else None,
            )
        self._entries[number] = new
        return new

    def settle(self) -> None:
        """Prepare a resume: wait until all trials have ended, and give new ids to those that were killed at the start.

        Raises:
            RunError: if a trial is still running after 30 s.
        """
        for entry in self.entries:
            self.wait(entry.number, _PATIENCE)
            folder = self._runs_dir / entry.id
            if folder.is_dir() and not (folder / "run.json").exists():  # killed before its record was written
                self._entries[entry.number] = replace(entry, id=new_id(), status="WAITING", error=None)
                _remove_empty(folder)
        running = [entry.id for entry in self.entries if entry.status == "RUNNING"]
        if running:
            raise RunError(
                f"trials of this sweep are still running: {', '.join(running)}. Stop them before you resume."
            )

    def wait(self, number: int, seconds: float) -> None:
        """Wait until a trial's run has ended, for at most `seconds`."""
        end = time.monotonic() + seconds
        while self.refresh(number).status == "RUNNING" and time.monotonic() < end:
            time.sleep(0.2)

    def _record(self, entry: Entry) -> RunRecord:
        return RunRecord.read(self._runs_dir / entry.id)

    def _best(self, record: RunRecord) -> tuple[float, int] | None:
        series = record.metrics.get(self._metric)
        pairs = zip(series.values, series.steps, strict=True) if series else ()
        numbers = [(value, step) for value, step in pairs if not math.isnan(value)]
        return min(numbers, key=lambda pair: self._sign * pair[0], default=None)


def new_entries(trials: Sequence[Trial]) -> list[Entry]:
    """Return entries for the trials of a new sweep, with new run ids."""
    return [Entry(trial.number, new_id(), trial.overrides) for trial in trials]


def recorded_entries(found: Any, check: Callable[[str], bool]) -> list[Entry]:
    """Return the trials that a record lists, with number, id and settings but without results; empty if it lists none.

    Args:
        found: list of trials in the record, or None.
        check: function that returns true if a name is a valid run id.

    Raises:
        RunError: if the list is damaged.
    """
    try:
        entries = [_entry(item) for item in found or []]
        if [entry.number for entry in entries] != list(range(1, len(entries) + 1)):
            raise ValueError("their numbers are not 1, 2, …")
        if not all(check(entry.id) for entry in entries):
            raise ValueError("an id is invalid")
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"the sweep's list of trials is damaged: {type(error).__name__}: {error}.") from error
    return entries


def _entry(item: Mapping[str, Any]) -> Entry:
    return Entry(int(item["number"]), str(item["id"]), tuple(map(str, item["set"])))


def _remove_empty(folder: Path) -> None:
    """Remove a run folder if it contains nothing but locks."""
    if all(path.name.startswith("lock.") for path in folder.iterdir()):
        with suppress(OSError):
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()
