"""Write and read `metrics.jsonl`: one JSON object per line (name, step, value, timestamp), append-only."""

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
from typing import BinaryIO

from nablafx_core.files import opened

_RETRY_SECONDS = 1.0  # between two attempts to write to a full disk
_WINDOW = 4096  # bytes at the end of the file that are read first; they contain the last step of most runs


@dataclass(frozen=True)
class Series:
    """Values of one metric, ordered by step; the three lists have equal lengths. Timestamps are ISO 8601, UTC."""

    steps: list[int]
    values: list[float]
    timestamps: list[str]


class MetricsFile:
    """Append each value immediately, so that a kill loses none; keep values in memory while the disk refuses them.

    Args:
        path: path of the file; it may exist and may end in an incomplete line.
        on_error: function that is called with each failure to write; must not raise.
        capacity: maximum number of values kept in memory; the oldest are discarded first.

    Attributes:
        lost: number of values that were discarded.
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
        """Write one value, after those that are still in memory; within 1 s of a failure, only keep it in memory.

        Args:
            name: name of the metric.
            step: step of the value.
            value: the value; NaN and infinity are allowed.
            timestamp: time of the value, ISO 8601, UTC.
        """
        line = json.dumps({"name": name, "step": step, "value": value, "timestamp": timestamp}) + "\n"
        with self._lock:
            self.lost += len(self._pending) == self._pending.maxlen
            self._pending.append(line)
            if time.monotonic() >= self._retry_at:
                self._flush()

    def flush(self) -> int:
        """Try to write the values in memory, and return the number of those that could not be written."""
        with self._lock:
            if self._pending:
                self._flush()
            return len(self._pending)

    def close(self) -> int:
        """Try to write once more, close the file, and return the number of values that were never written."""
        waiting = self.flush()
        with self._lock:
            self._release()
        return waiting + self.lost

    def waiting(self) -> list[bytes]:
        """Return the lines that are not on the disk yet."""
        with self._lock:
            return [line.encode() for line in self._pending]

    def _flush(self) -> None:
        try:
            if self._file is None:
                self._file = _at_end(self.path)
            data = "".join(self._pending).encode()
            if self._file.write(data) != len(data):
                raise OSError("only a part of the data was written")
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
    """Open the file at its end, on a new line, so that no value is appended to an incomplete line."""
    if path.exists():
        opened(path).close()  # raises for a FIFO, where opening would block
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
    """Return all metrics by name; skip invalid lines. Without a file there are no metrics.

    If a step was logged twice, before a kill and after the resume, its last value counts.

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
    """Return the step of the last valid line; None if there is none or the file cannot be read.

    Metrics of machines (``system/…``) are skipped, because they count seconds instead of steps. The file is read from
    its end, in growing pieces.
    """
    try:
        with opened(path) as file:
            size, window = file.seek(0, os.SEEK_END), _WINDOW
            while (step := _last_step_from(file, max(0, size - window))) is None and window < size:
                window *= 8
            return step
    except OSError:
        return None


def _last_step_from(file: BinaryIO, start: int) -> int | None:
    """Return the step of the last valid line that begins at byte `start` or later, without ``system/…``."""
    file.seek(start)
    for line in reversed(file.read().splitlines()):
        point = parsed(line)
        if point is not None and not point[0].startswith("system/"):
            return point[1]
    return None


def _series(by_step: dict[int, tuple[float, str]]) -> Series:
    steps = sorted(by_step)
    return Series(steps, [by_step[step][0] for step in steps], [by_step[step][1] for step in steps])


def parsed(line: bytes) -> tuple[str, int, float, str] | None:
    """Return name, step, value and timestamp of a line; None if it is incomplete or otherwise invalid."""
    try:
        point = json.loads(line)
        return str(point["name"]), int(point["step"]), float(point["value"]), str(point["timestamp"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
