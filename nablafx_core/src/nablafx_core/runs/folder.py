"""The observer that writes the run folder, the authoritative record of a run."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from nablafx_core.errors import RunError
from nablafx_core.files import replace_copy, replace_json, replace_text
from nablafx_core.hints import Once
from nablafx_core.quiet_sacred import RunObserver
from nablafx_core.runs.environment import redacted
from nablafx_core.runs.metrics_file import MetricsFile, read_series
from nablafx_core.runs.process import identity
from nablafx_core.runs.rows import RECORDED

_log = logging.getLogger(__name__)
RESERVED = frozenset({"run.json", "config.json", "metrics.json", "metrics.jsonl", "info.json", "cout.txt"})
"""Names that an artifact must not have, because these files are written or read as part of the record."""

SAMPLED = "system/gpu"
"""Prefix of metrics whose steps are whole seconds of running."""

_KEPT = ("start_time", "artifacts", "resources", "elapsed", "revision")


class FolderObserver(RunObserver):
    """Write ``runs/ID/`` so that a kill at any moment leaves complete files, in a form that Sacred's readers support.

    `config.json`, `run.json`, `metrics.json`, `info.json` and `cout.txt` have the names and keys of Sacred's
    FileStorageObserver. In addition, there are `config.yaml`, the experiment; `metrics.jsonl`, to which `metric`
    appends immediately (`metrics.json` is made from it at the end); and in `run.json` `pid`, `process_start`,
    `machine`, `packs`, `elapsed` (seconds of running, without pauses), `resumed` (times), `parent` (id of the run that
    started this one, such as a sweep) and `revision`, which grows with each write.

    After the start, no error of the disk is raised: the data is kept in memory, a warning is logged once, and writing
    is tried again with the next event.

    Args:
        folder: existing folder whose lock this process holds.
        config: experiment, for `config.yaml`.
        previous: `run.json` of a run that is resumed; None for a new run.
    """

    priority = sys.maxsize  # before all other observers, so that the folder is written even if they fail

    def __init__(self, folder: Path, config: Mapping[str, Any], previous: Mapping[str, Any] | None = None) -> None:
        self.folder = folder
        self.metrics = MetricsFile(folder / "metrics.jsonl", self._complain)
        self._config = config
        self._previous = previous
        self._entry: dict[str, Any] = {}
        self._info: dict[str, Any] = {}
        self._began = time.monotonic()
        self._elapsed_before = 0.0
        self._once = Once()
        self._lock = threading.RLock()  # Sacred's heartbeat comes from another thread

    def started_event(
        self,
        ex_info: Mapping[str, Any],
        command: str,
        host_info: Mapping[str, Any],
        start_time: datetime,
        config: Mapping[str, Any],
        meta_info: Mapping[str, Any],
        _id: str,
    ) -> str:
        """Write the record of a run that starts or is resumed, and return its id.

        Args:
            ex_info: Sacred's facts about the experiment.
            command: name of the command.
            host_info: facts about the machine.
            start_time: time of this start, UTC, without a time zone.
            config: experiment with Sacred's seed, for `config.json`.
            meta_info: the packs, values of recorded fields of `Row`, and Sacred's own entries.
            _id: id of the run.

        Raises:
            RunError: if the folder cannot be written.
        """
        meta, now = dict(meta_info), start_time.isoformat()
        entry = {
            "experiment": dict(ex_info),
            "command": command,
            "host": dict(host_info),
            "start_time": now,
            "heartbeat": now,
            "status": "RUNNING",
            "result": None,
            "resources": [],
            "artifacts": [],
            "packs": meta.pop("packs", []),
            **{key: meta.pop(key, None) for key in RECORDED},
            "revision": 0,
            "meta": meta,
            "elapsed": 0.0,
            "resumed": [],
            **identity(),
        }
        self._began = time.monotonic()
        if self._previous is not None:
            names = (*_KEPT, *(key for key, fact in RECORDED.items() if fact.kept))
            kept = {key: self._previous[key] for key in names if key in self._previous}
            entry |= kept | {"resumed": [*self._previous.get("resumed", []), now]}
            self._elapsed_before = entry["elapsed"] = self._seconds_before_resume(entry["elapsed"])
            entry["revision"] += 1
        self._entry = entry
        try:
            self._write_config(len(entry["resumed"]))
            replace_json(self.folder / "config.json", config)
            replace_text(self.folder / "cout.txt", "")
            replace_json(self.folder / "run.json", entry, sync=True)
        except OSError as error:
            raise RunError(f"{self.folder}: cannot be written: {error.strerror}.") from error
        if self._previous is not None:
            self._write_series()
        return _id

    def heartbeat_event(self, info: Mapping[str, Any], captured_out: str, beat_time: datetime, result: Any) -> None:
        """Write values that wait in memory; the heartbeat, which shows that the run is alive; the summary; the info."""
        self.metrics.flush()
        with self._lock:
            self._note_time("heartbeat", beat_time)
            self._entry["result"] = result
            self._write_entry()
            noted = dict(info)  # a copy, because the command may add to it meanwhile
            if noted != self._info:
                self._info = noted
                self._write("info.json", self._info)

    def metric(self, name: str, step: int, value: float, timestamp: datetime) -> None:
        """Append one value to `metrics.jsonl` immediately; Sacred would send it only with the next heartbeat."""
        self.metrics.append(name, step, value, timestamp.isoformat())

    @property
    def is_resumed(self) -> bool:
        """True if the run was resumed."""
        return self._previous is not None

    def held(self) -> tuple[dict[str, Any], list[bytes]]:
        """Return `run.json` as it is in memory, and the lines of `metrics.jsonl` that are not on the disk yet."""
        with self._lock:
            return dict(self._entry), self.metrics.waiting()

    @property
    def elapsed(self) -> float:
        """Seconds of running until now, without pauses; independent of the system's clock."""
        return self._elapsed_before + time.monotonic() - self._began

    def completed_event(self, stop_time: datetime, result: Any) -> None:
        """Record that the run has completed."""
        self._end("COMPLETED", stop_time, result=result)

    def interrupted_event(self, interrupt_time: datetime, status: str) -> None:
        """Record that the run was stopped by a user or a signal; `status` is Sacred's, such as INTERRUPTED."""
        self._end(status, interrupt_time)

    def failed_event(self, fail_time: datetime, fail_trace: list[str]) -> None:
        """Record that the run was ended by an exception, with its traceback but without credentials in URLs."""
        self._end("FAILED", fail_time, fail_trace=[redacted(part) for part in fail_trace])

    def artifact_event(
        self, name: str, filename: str, metadata: Mapping[str, Any] | None = None, content_type: str | None = None
    ) -> None:
        """Record a file by its path in the folder; copy it into the folder if it is elsewhere.

        If it cannot be copied, a warning is logged and it is not recorded.
        """
        target = self.folder / name
        with self._lock:
            try:
                if Path(filename).resolve() != target.resolve():
                    replace_copy(Path(filename), target)
            except OSError as error:
                _log.warning(
                    "run %s: artifact %s is not in the folder, because it could not be copied: %s.",
                    self.folder.name,
                    name,
                    error.strerror,
                )
                return
            if name not in self._entry["artifacts"]:
                self._entry["artifacts"].append(name)
                self._write_entry()

    def _end(self, status: str, time: datetime, **more: Any) -> None:
        if not self._entry:  # the run failed before its start was recorded
            return
        lost = self.metrics.close()
        if lost:
            _log.warning("run %s: number of values that could not be written and are lost: %d.", self.folder.name, lost)
        with self._lock:
            self._write_series()
            self._note_time("stop_time", time)
            self._entry |= {"status": status, **more}
            self._write_entry()

    def _write_config(self, resumes: int) -> None:
        """Write `config.yaml`; at resume N, keep a different old one as ``config.N.yaml``."""
        path, text = self.folder / "config.yaml", _yaml(self._config)
        if resumes and path.exists() and path.read_bytes() != text.encode():
            replace_copy(path, self.folder / f"config.{resumes}.yaml")
        replace_text(path, text)

    def _note_time(self, key: str, when: datetime) -> None:
        self._entry[key] = when.isoformat()
        self._entry["elapsed"] = round(self.elapsed, 3)

    def _seconds_before_resume(self, elapsed: float) -> float:
        """Return the seconds of running before a resume, including samples after the last heartbeat before a kill.

        The resumed run must not use the same seconds for its samples, because these would replace the older ones.
        """
        try:
            series = read_series(self.folder / "metrics.jsonl")
        except OSError:  # reported when the file is written
            return elapsed
        sampled = [one.steps[-1] for name, one in series.items() if name.startswith(SAMPLED)]
        return max([elapsed, *(second + 1 for second in sampled)])

    def _write_series(self) -> None:
        try:
            series = read_series(self.folder / "metrics.jsonl")
        except OSError as error:
            self._complain(error)
        else:
            self._write("metrics.json", {name: vars(one) for name, one in series.items()})

    def _write_entry(self) -> None:
        self._entry["revision"] += 1
        self._write("run.json", self._entry, sync=True)

    def _write(self, name: str, value: Any, sync: bool = False) -> None:
        try:
            replace_json(self.folder / name, value, sync)
        except OSError as error:
            self._complain(error)

    def _complain(self, error: OSError) -> None:
        if self._once.first():
            _log.warning(
                "run %s: its folder cannot be written (%s). The run continues, and writing is tried again.",
                self.folder.name,
                error.strerror or error,
            )


def _yaml(config: Mapping[str, Any]) -> str:
    text: str = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
    return text
