"""Rows of runs for lists, filters and rankings; a row can be stored and read again quickly."""

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

#: Keys of a RUNNING record that are needed to check whether its process is alive, and how long it has run.
_LIFE = ("pid", "process_start", "machine", "heartbeat", "elapsed", "start_time")


@dataclass(frozen=True)
class Fact:
    """Definition of one field of a run: its documentation, its source, and where it is shown.

    Args:
        doc: documentation of the field.
        read: function that reads the field from a record.
        named: true if conditions, ``--sort`` and ``--by`` can use the field.
        column: heading of the field's column in the list of runs; empty for no column.
        page: label of the field's line on the page of a run; empty for no line.
        key: key in ``run.json`` of an argument of `record`; empty if the field is computed from other values.
        kind: type of the value under that key.
        kept: true if a resumed run keeps the value of the first start.
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
    """Declare a field of `Row`; see `Fact`. Without `read`, the field is the value of `key` in ``run.json``."""
    found = read or (lambda run: run.entry.get(key))
    return field(metadata={"fact": Fact(doc, found, named, column, page, key, kind, kept)})


@dataclass(frozen=True)
class Row:
    """Run in a list. Each field contains its documentation; `FACTS` has the fields by name."""

    id: str = fact("Id of the run.", lambda run: run.id, column="ID", page="run")
    status: str = fact(
        "COMPLETED, FAILED, INTERRUPTED, RUNNING, DIED or DAMAGED.",
        lambda run: run.status,
        column="STATUS",
        page="status",
    )
    damage: str | None = fact("Reason why a DAMAGED record cannot be read.", lambda run: run.damage, named=False)
    error: str | None = fact(
        "Last line of the error of a failed run.", lambda run: run.error if run.status == "FAILED" else None
    )
    command: str | None = fact('Command, such as "train".', lambda run: run.command, column="COMMAND", page="command")
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
    step: int | None = fact(
        "Step of the last logged value, without system/….", lambda run: run.last_step, column="STEP"
    )
    start: datetime | None = fact(
        "Time of the first start, UTC; None if the record does not contain it.",
        lambda run: run.start,
        column="AGE",
        page="started",
    )
    duration: float | None = fact("Seconds of running.", lambda run: run.duration, page="ran for")
    parent: str | None = fact("Id of the run that started this one.", key="parent", page="parent", kept=True)
    host: str | None = fact("Name of the machine.", lambda run: _word(run.host, "hostname"))
    tags: tuple[str, ...] = fact("Sorted tags.", lambda run: tuple(run.tags), column="TAGS", page="tags")
    note: str = fact("Note that a user wrote.", lambda run: run.note, column="NOTE OR ERROR", page="note")
    summary: Mapping[str, Any] = fact("Final figures.", lambda run: run.summary, named=False)
    began: datetime = fact(
        "Time of the first start or, if the record does not contain it, of the folder's last change, UTC.",
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
        """Experiment of the run, as in `RunRecord.quick_config`; empty if it cannot be read."""
        found: dict[str, Any] = json.loads(self._config)
        return found

    def kept(self) -> tuple[str, str]:
        """Return the row as two texts, its fields and its experiment, for `of_kept`."""
        values = [getattr(self, name) for name in FACTS]
        return json.dumps([*values, self._life], default=datetime.isoformat), self._config

    @classmethod
    def of_kept(cls, facts: str, config: str) -> Row:
        """Return the row of the texts of `kept`; check again whether the process of a running run is alive.

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


#: Fields of `Row` by name, in the order in which they are shown.
FACTS: dict[str, Fact] = {one.name: one.metadata["fact"] for one in fields(Row) if "fact" in one.metadata}

#: The fields whose values are arguments of `record`, by their key in ``run.json``.
RECORDED: dict[str, Fact] = {one.key: one for one in FACTS.values() if one.key}

#: Version of stored rows. Increment the number if the meaning of a field changes but not its name.
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
