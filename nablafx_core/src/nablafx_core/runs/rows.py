"""A run as lists, filters and rankings see it: one row, which can be kept and read again quickly."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nablafx_core.names import short_name
from nablafx_core.runs.process import alive, as_time, since

if TYPE_CHECKING:
    from nablafx_core.runs.records import RunRecord

#: Keys of a RUNNING record from which it follows whether its process still lives.
_LIFE = ("pid", "process_start", "machine", "heartbeat", "elapsed", "start_time")


@dataclass(frozen=True)
class Fact:
    """Everything that the framework knows of one field of a run.

    Args:
        doc: what it is.
        read: function that reads it from a record.
        named: True if conditions, ``--sort`` and ``--by`` may name it.
        column: heading of its column in the list of runs; empty for none.
        page: label of its line on the page of a run; empty for none.
        key: key under which ``run.json`` stores what `record` was given; empty if the field follows from others.
        kind: type of the value under that key.
        kept: True if a resumed run keeps the value of the first start.
    """

    doc: str
    read: Callable[[RunRecord], Any]
    named: bool
    column: str
    page: str
    key: str
    kind: type
    kept: bool


def fact(
    doc: str,
    read: Callable[[RunRecord], Any] | None = None,
    *,
    named: bool = True,
    column: str = "",
    page: str = "",
    key: str = "",
    kind: type = str,
    kept: bool = False,
) -> Any:
    """Declare a field of `Row`; see `Fact`. Without `read`, it is what ``run.json`` has under `key`."""
    found = read or (lambda run: run.entry.get(key))
    return field(metadata={"fact": Fact(doc, found, named, column, page, key, kind, kept)})


@dataclass(frozen=True)
class Row:
    """A run in a list. Each field says what it is; `FACTS` has them by name."""

    id: str = fact("Id of the run.", lambda run: run.id, column="ID", page="run")
    status: str = fact(
        "COMPLETED, FAILED, INTERRUPTED, RUNNING, DIED or DAMAGED.",
        lambda run: run.status,
        column="STATUS",
        page="status",
    )
    damage: str | None = fact("Why a DAMAGED record cannot be read.", lambda run: run.damage, named=False)
    error: str | None = fact(
        "Last line of the error with which it failed.", lambda run: run.error if run.status == "FAILED" else None
    )
    command: str | None = fact('Such as "train".', lambda run: run.command, column="COMMAND", page="command")
    model: str | None = fact(
        "Name of the model in the experiment, without its pack.",
        lambda run: _short(run.quick_config.get("model"), "name"),
        column="MODEL",
    )
    data: str | None = fact(
        "Name of the dataset in the experiment, without its pack.",
        lambda run: _short(run.quick_config.get("data"), "name"),
        column="DATA",
    )
    device: str | None = fact(
        "Device of the dataset in the experiment, without its pack.",
        lambda run: _short(run.quick_config.get("data"), "device"),
    )
    step: int | None = fact("Step of the last value that was logged.", lambda run: run.last_step, column="STEP")
    start: datetime | None = fact(
        "When it was first started, UTC; None if the record does not tell.",
        lambda run: run.start,
        column="AGE",
        page="started",
    )
    duration: float | None = fact("Seconds that it ran.", lambda run: run.duration, page="ran for")
    parent: str | None = fact("Id of the run that started it.", key="parent", page="parent", kept=True)
    host: str | None = fact("Name of the machine.", lambda run: _word(run.host, "hostname"))
    tags: tuple[str, ...] = fact("Sorted tags.", lambda run: tuple(run.tags), column="TAGS", page="tags")
    note: str = fact("What somebody wrote about it.", lambda run: run.note, column="NOTE OR ERROR", page="note")
    summary: Mapping[str, Any] = fact("Final figures.", lambda run: run.summary, named=False)
    began: datetime = fact(
        "Its start or, if the record does not tell, when its folder last changed, UTC.",
        lambda run: run.began,
        named=False,
    )
    _life: Mapping[str, Any] | None = field(default=None, repr=False)
    _config: str = field(default="{}", repr=False)

    @classmethod
    def of(cls, record: RunRecord) -> Row:
        """Return the row of a record."""
        running = record.entry.get("status") == "RUNNING"
        life = {key: record.entry.get(key) for key in _LIFE} if running else None
        values = {name: one.read(record) for name, one in FACTS.items()}
        return cls(**values, _life=life, _config=json.dumps(record.quick_config))

    @cached_property
    def config(self) -> dict[str, Any]:
        """The experiment."""
        found: dict[str, Any] = json.loads(self._config)
        return found

    def kept(self) -> tuple[str, str]:
        """Return the row as text, the experiment apart; `of_kept` reads them."""
        values = [getattr(self, name) for name in FACTS]
        return json.dumps([*values, self._life], default=datetime.isoformat), self._config

    @classmethod
    def of_kept(cls, facts: str, config: str) -> Row:
        """Return a row that was kept; whether its process still lives is checked again.

        Raises:
            ValueError, TypeError, KeyError, AttributeError: if the text is damaged.
        """
        *found, life = json.loads(facts)
        values = dict(zip(FACTS, found, strict=True))
        values["tags"] = tuple(values["tags"])
        for name in ("began", "start"):
            values[name] = datetime.fromisoformat(values[name]) if values[name] else None
        if life is not None:
            values["status"], values["duration"] = _judged(life, values["duration"])
        return cls(**values, _life=life, _config=config)


#: The fields of `Row` by name, in the order in which they are shown.
FACTS: dict[str, Fact] = {one.name: one.metadata["fact"] for one in fields(Row) if "fact" in one.metadata}

#: Number of the form in which rows are kept. Increment the first part if a field's meaning changes, but not its name.
VERSION = zlib.crc32(repr((3, *FACTS)).encode()) & 0x7FFFFFFF


def _judged(life: Mapping[str, Any], duration: float | None) -> tuple[str, float | None]:
    """Return status and duration of a run whose record says RUNNING."""
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
