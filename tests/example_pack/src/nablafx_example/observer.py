"""A Sacred observer, which is notified of a run's events in addition to the run folder that is always written."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

from nablafx_core.interfaces import RunObserver


class EventLog(RunObserver):
    """Append a line of JSON for each event of each run on this machine to one file.

    Args:
        path: path of the file; if not given, the environment variable NABLAFX_EXAMPLE_EVENTS, or ``events.jsonl``.
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
        """Record that a run started or resumed."""
        self._run = _id
        self._write("started", start_time, command=command, host=host_info.get("hostname"))
        return _id

    def completed_event(self, stop_time: datetime, result: Any) -> None:
        """Record that it completed; the result is its final metrics."""
        self._write("completed", stop_time, result=result)

    def interrupted_event(self, interrupt_time: datetime, status: str) -> None:
        """Record that it was interrupted."""
        self._write("interrupted", interrupt_time, status=status)

    def failed_event(self, fail_time: datetime, fail_trace: list[str]) -> None:
        """Record that it failed, with the last line of the trace."""
        self._write("failed", fail_time, cause=fail_trace[-1].strip() if fail_trace else None)

    def _write(self, event: str, time: datetime, **facts: Any) -> None:
        line = json.dumps({"run": self._run, "event": event, "time": time.isoformat(), **facts}, default=str)
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(f"{line}\n")
