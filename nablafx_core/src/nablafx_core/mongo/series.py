"""Metrics of a run in MongoDB: chunks of `metrics.jsonl`, one document per chunk."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from nablafx_core.files import opened
from nablafx_core.runs.metrics_file import parsed

CHUNK = 5000
"""Number of points in a document: far below MongoDB's 16 MB, and cheap to write again while the last one grows."""

_BLOCK = 4 << 20  # bytes read at a time


@dataclass
class Chunk:
    """Points of one metric from `number` * CHUNK on, at most CHUNK, in the order of the steps."""

    name: str
    number: int
    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    timestamps: list[str] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, int]:
        """Name of the metric and number of the chunk."""
        return self.name, self.number

    def digest(self) -> bytes:
        """Return a hash of the steps and values."""
        points = array("q", self.steps).tobytes() + array("d", self.values).tobytes()
        return hashlib.blake2b(points, digest_size=16).digest()

    def document(self, run_id: str, seen: int) -> dict[str, Any]:
        """Return the document in the layout of Sacred's MongoObserver, plus the keys `chunk`, `seen` and `digest`."""
        return {
            "_id": self.document_id(run_id),
            "run_id": run_id,
            "name": self.name,
            "chunk": self.number,
            "steps": self.steps,
            "values": self.values,
            "timestamps": [_time(timestamp) for timestamp in self.timestamps],
            "seen": seen,
            "digest": self.digest().hex(),
        }

    def document_id(self, run_id: str) -> str:
        """Return the id of the chunk's document."""
        return f"{run_id}:{self.name}:{self.number}"


class Series:
    """Follow a `metrics.jsonl` that grows; hold the last chunk of each metric and the chunks that are not sent yet.

    The series are equal to those of `read_series`. If a step is lower than the one before it, as after a resume, the
    file is read again; chunks that have not changed are not sent again.

    Args:
        path: path of the file, which may be missing.

    Attributes:
        seen: number of values read so far; a chunk depends only on the first `seen` values.
        last_step: step of the last value, without metrics of machines (``system/…``); None before there is one.
        chunks: number of chunks by metric.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sent: dict[tuple[str, int], bytes] = {}
        self._begin()

    def _begin(self) -> None:
        self.seen = 0
        self.last_step: int | None = None
        self.chunks: dict[str, int] = {}
        self._offset = 0
        self._torn = b""
        self._open: dict[str, Chunk] = {}
        self._unsent: dict[tuple[str, int], Chunk] = {}

    def read(self, last: bool = False) -> bool:
        """Read a block of new data; return true if there may be more.

        Args:
            last: if true, the file is no longer written, and its last line is read even without a line break.

        Raises:
            OSError: if the file cannot be read.
        """
        if not self.path.exists():
            return False
        with opened(self.path) as file:
            file.seek(self._offset)
            block = file.read(_BLOCK)
        self._offset += len(block)
        *lines, self._torn = (self._torn + block).split(b"\n")
        more = len(block) == _BLOCK
        if last and not more:
            lines, self._torn = [*lines, self._torn], b""
        if not self.add(lines):
            self._read_again(last)
        return more

    def add(self, lines: Iterable[bytes]) -> bool:
        """Append lines; return false if a step is lower than the one before it, so that earlier chunks change too."""
        for line in lines:
            point = parsed(line)
            if point is None:
                continue
            name, step, value, timestamp = point
            self._count(name, step)
            chunk = self._open.get(name)
            if chunk is not None and chunk.steps and step <= chunk.steps[-1]:
                if step < chunk.steps[-1]:
                    return False
                chunk.values[-1], chunk.timestamps[-1] = value, timestamp
                self._unsent[chunk.key] = chunk
            else:
                self._append(name, step, value, timestamp)
        return True

    def unsent(self) -> list[Chunk]:
        """Return the chunks that have changed since they were sent."""
        return list(self._unsent.values())

    def sent(self, chunks: Iterable[Chunk]) -> None:
        """Record that the present state of chunks has arrived."""
        for chunk in chunks:
            self._sent[chunk.key] = chunk.digest()
            self._unsent.pop(chunk.key, None)

    def known(self, digests: Mapping[str, str], run_id: str) -> None:
        """Record the chunks that a database has, by the `digest` of their documents."""
        for chunk in self.unsent():
            if digests.get(chunk.document_id(run_id)) == chunk.digest().hex():
                self.sent([chunk])

    def forget_sent(self) -> None:
        """Mark all chunks as not sent."""
        self._sent.clear()
        self._read_again()

    def _count(self, name: str, step: int) -> None:
        self.seen += 1
        if not name.startswith("system/"):
            self.last_step = step

    def _append(self, name: str, step: int, value: float, timestamp: str) -> None:
        chunk = self._open.get(name)
        if chunk is None or len(chunk.steps) == CHUNK:
            number = self.chunks.get(name, 0)
            chunk = self._open[name] = Chunk(name, number)
            self.chunks[name] = number + 1
        chunk.steps.append(step)
        chunk.values.append(value)
        chunk.timestamps.append(timestamp)
        self._unsent[chunk.key] = chunk

    def _read_again(self, last: bool = False) -> None:
        """Read the file from its beginning, in the order of the steps; see `read`."""
        self._begin()
        if not self.path.exists():
            return
        points: dict[str, dict[int, tuple[float, str]]] = {}
        with opened(self.path) as file:
            for line in file:
                if not (last or line.endswith(b"\n")):
                    self._torn = line
                self._offset += len(line)
                point = parsed(line) if not self._torn else None
                if point is not None:
                    name, step, value, timestamp = point
                    self._count(name, step)
                    points.setdefault(name, {})[step] = (value, timestamp)
        for name, by_step in points.items():
            for step in sorted(by_step):
                self._append(name, step, *by_step[step])
        self._unsent = {key: chunk for key, chunk in self._unsent.items() if self._sent.get(key) != chunk.digest()}


def _time(timestamp: str) -> datetime | None:
    try:
        return datetime.fromisoformat(timestamp)
    except ValueError:
        return None
