"""A run as lists, filters and rankings see it: a line's worth, which can be kept and read again quickly."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from nablafx_core.names import short_name
from nablafx_core.tracking.process import alive, as_time, since
from nablafx_core.tracking.records import RunRecord, began

#: Fields that are kept in another form than they have.
_APART = ("began", "start", "duration", "_life", "_config")
#: What of a RUNNING record tells whether its process still lives.
_LIFE = ("pid", "process_start", "machine", "heartbeat", "elapsed", "start_time")


@dataclass(frozen=True)
class Row:
    """A run in a list.

    Attributes:
        id: of the run.
        status: COMPLETED, FAILED, INTERRUPTED, RUNNING, DIED or DAMAGED.
        damage: why a DAMAGED record cannot be read.
        error: the last line of what made it fail.
        command: such as ``"train"``.
        model: its name in the experiment, without its pack.
        data: the dataset's name in the experiment, without its pack.
        device: the dataset's device in the experiment, without its pack.
        step: of the last value that was logged.
        summary: the final figures.
        tags: sorted.
        note: what somebody wrote about it.
        parent: id of the run that started it.
        host: the machine's name.
        began: its start, or, if the record does not tell, when its folder changed last; UTC.
        start: None if the record does not tell.
        duration: seconds that it ran.
    """

    id: str
    status: str
    damage: str | None
    error: str | None
    command: str | None
    model: str | None
    data: str | None
    device: str | None
    step: int | None
    summary: Mapping[str, Any]
    tags: tuple[str, ...]
    note: str
    parent: str | None
    host: str | None
    began: datetime
    start: datetime | None
    duration: float | None
    _life: Mapping[str, Any] | None = field(default=None, repr=False)
    _config: str = field(default="{}", repr=False)

    @classmethod
    def of(cls, record: RunRecord) -> Row:
        """The row of a record."""
        config = record.quick_config
        model, data = (config.get(key) for key in ("model", "data"))
        return cls(
            record.id,
            record.status,
            record.damage,
            record.error if record.status == "FAILED" else None,
            record.command,
            _short(model, "name"),
            _short(data, "name"),
            _short(data, "device"),
            record.last_step,
            record.summary,
            tuple(record.tags),
            record.note,
            record.parent,
            _word(record.host, "hostname"),
            began(record),
            record.start,
            record.duration,
            {key: record.entry.get(key) for key in _LIFE} if record.entry.get("status") == "RUNNING" else None,
            json.dumps(config),
        )

    @cached_property
    def config(self) -> dict[str, Any]:
        """The experiment."""
        found: dict[str, Any] = json.loads(self._config)
        return found

    def kept(self) -> tuple[str, str]:
        """As text, the experiment apart; `of_kept` reads them."""
        start = self.start.isoformat() if self.start else None
        values = [getattr(self, name) for name in _PLAIN]
        return json.dumps([*values, self.began.isoformat(), start, self.duration, self._life]), self._config

    @classmethod
    def of_kept(cls, facts: str, config: str) -> Row:
        """A row that was kept; whether its process still lives is judged anew.

        Raises:
            ValueError, TypeError, KeyError, AttributeError: if it is damaged.
        """
        *plain, began, start, duration, life = json.loads(facts)
        values = dict(zip(_PLAIN, plain, strict=True))
        values["tags"] = tuple(values["tags"])
        if life is not None:
            values["status"], duration = _judged(life, duration)
        times = datetime.fromisoformat(began), datetime.fromisoformat(start) if start else None
        return cls(**values, began=times[0], start=times[1], duration=duration, _life=life, _config=config)


_PLAIN = tuple(name for name in Row.__dataclass_fields__ if name not in _APART)


def _judged(life: Mapping[str, Any], duration: float | None) -> tuple[str, float | None]:
    """Status and duration of a run whose record says RUNNING."""
    if not alive(life, life["heartbeat"] or life["start_time"]):
        return "DIED", life["elapsed"] if life["elapsed"] is not None else duration
    if life["elapsed"] is None or life["heartbeat"] is None:
        return "RUNNING", duration
    return "RUNNING", float(life["elapsed"]) + since(as_time(life["heartbeat"]))


def _short(section: Any, key: str) -> str | None:
    word = _word(section, key)
    return None if word is None else short_name(word)


def _word(section: Any, key: str) -> str | None:
    value = section.get(key) if isinstance(section, Mapping) else None
    return str(value) if isinstance(value, str | int | float) and value != "" else None
