"""A Sacred observer: it is told what happens to a run, beside the run folder that is always written."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

from nablafx_core.interfaces import RunObserver


class EventLog(RunObserver):
    """Appends a line of JSON for each event of each run to one file: who trains what on this machine, at a glance.

    Args:
        path: of the file; if None, what the variable NABLAFX_EXAMPLE_EVENTS says, else ``events.jsonl``.
    """

    def __init__(self, path: str | None = None) -> None:
        self.path = Path(path or os.environ.get("NABLAFX_EXAMPLE_EVENTS", "events.jsonl"))
        self._run: str | None = None

    def started_event(
        self,
        ex_info: dict[str, Any],
        command: str,
        host_info: dict[str, Any],
        start_time: datetime,
        config: dict[str, Any],
        meta_info: dict[str, Any],
        _id: str | None,
    ) -> str | None:
        """A run began, or goes on."""
        self._run = _id
        self._write("started", start_time, command=command, host=host_info.get("hostname"))
        return _id

    def completed_event(self, stop_time: datetime, result: Any) -> None:
        """It is done; the result is its final figures."""
        self._write("completed", stop_time, result=result)

    def interrupted_event(self, interrupt_time: datetime, status: str) -> None:
        """Somebody stopped it."""
        self._write("interrupted", interrupt_time, status=status)

    def failed_event(self, fail_time: datetime, fail_trace: list[str]) -> None:
        """It failed; the last line of the trace says why."""
        self._write("failed", fail_time, cause=fail_trace[-1].strip() if fail_trace else None)

    def _write(self, event: str, time: datetime, **facts: Any) -> None:
        line = json.dumps({"run": self._run, "event": event, "time": time.isoformat(), **facts}, default=str)
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(f"{line}\n")
