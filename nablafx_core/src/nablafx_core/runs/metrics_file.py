"""`metrics.jsonl`: one JSON object a line (name, step, value, timestamp), only ever appended to."""

from __future__ import annotations

import contextlib
import json
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from nablafx_core.files import opened

_RETRY_SECONDS = 1.0  # between two attempts to write to a full disk


@dataclass(frozen=True)
class Series:
    """One metric over the steps, in the order of the steps. Timestamps are ISO 8601, UTC."""

    steps: list[int]
    values: list[float]
    timestamps: list[str]


class MetricsFile:
    """Appends values at once, so that a kill loses none; keeps them in memory while the disk refuses.

    Args:
        path: of the file; it may exist and may end in a torn line.
        on_error: told each failure to write; must not raise.
        capacity: values kept in memory at most; the oldest are given up first.
    """

    def __init__(self, path: Path, on_error: Callable[[OSError], None], capacity: int = 200_000) -> None:
        self.path = path
        self.lost = 0
        self._on_error = on_error
        self._pending: deque[str] = deque(maxlen=capacity)
        self._retry_at = -math.inf
        self._lock = threading.Lock()
        self._file: FileIO | None = None

    def append(self, name: str, step: int, value: float, timestamp: str) -> None:
        """Write one value, with those that are still waiting."""
        line = json.dumps({"name": name, "step": step, "value": value, "timestamp": timestamp}) + "\n"
        with self._lock:
            self.lost += len(self._pending) == self._pending.maxlen
            self._pending.append(line)
            if time.monotonic() >= self._retry_at:
                self._flush()

    def flush(self) -> int:
        """Try to write what is waiting, and return how many values still wait."""
        with self._lock:
            if self._pending:
                self._flush()
            return len(self._pending)

    def close(self) -> int:
        """Try once more, close the file, and return how many values could not be written in all."""
        waiting = self.flush()
        with self._lock:
            self._release()
        return waiting + self.lost

    def waiting(self) -> list[bytes]:
        """The lines that the disk has not taken."""
        with self._lock:
            return [line.encode() for line in self._pending]

    def _flush(self) -> None:
        try:
            if self._file is None:
                self._file = _at_end(self.path)
            data = "".join(self._pending).encode()
            if self._file.write(data) != len(data):
                raise OSError("the disk took only a part")
        except OSError as error:
            self._release()
            self._retry_at = time.monotonic() + _RETRY_SECONDS
            self._on_error(error)
        else:
            self._retry_at = -math.inf
            self._pending.clear()

    def _release(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                file.close()


def _at_end(path: Path) -> FileIO:
    """The file at its end, on a fresh line: a line torn by a kill or a full disk must not swallow the next."""
    if path.exists():
        opened(path).close()  # reading a FIFO would block
    file = open(path, "a+b", buffering=0)  # noqa: SIM115 - held open between values
    try:
        if file.seek(0, os.SEEK_END) > 0:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
    except OSError:
        file.close()
        raise
    return file


def read_series(path: Path) -> dict[str, Series]:
    """All metrics by name; torn lines are passed over, no file is no metric.

    A step that was logged twice, before a kill and after the resume, has its last value.

    Raises:
        OSError: if the file cannot be read.
    """
    points: dict[str, dict[int, tuple[float, str]]] = {}
    if path.exists():
        with opened(path) as file:
            for line in file:
                point = parsed(line)
                if point is not None:
                    name, step, value, timestamp = point
                    points.setdefault(name, {})[step] = (value, timestamp)
    return {name: _series(by_step) for name, by_step in points.items()}


def last_step(path: Path) -> int | None:
    """The step of the last whole line, read from the file's end; None if there is none.

    What is measured of machines (``system/…``) counts seconds, not steps, and is passed over.
    """
    try:
        with opened(path) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
            lines = file.read().splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        point = parsed(line)
        if point is not None and not point[0].startswith("system/"):
            return point[1]
    return None


def _series(by_step: dict[int, tuple[float, str]]) -> Series:
    steps = sorted(by_step)
    return Series(steps, [by_step[step][0] for step in steps], [by_step[step][1] for step in steps])


def parsed(line: bytes) -> tuple[str, int, float, str] | None:
    """Name, step, value and timestamp of a line; None for one that is torn."""
    try:
        point = json.loads(line)
        return str(point["name"]), int(point["step"]), float(point["value"]), str(point["timestamp"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
