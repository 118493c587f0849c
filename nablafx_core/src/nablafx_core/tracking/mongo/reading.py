"""The lab book of a MongoDB: its runs, read and kept in order by the commands that also serve folders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nablafx_core.errors import ConfigError, RunError
from nablafx_core.tracking.index import current_rows
from nablafx_core.tracking.metrics import Series
from nablafx_core.tracking.mongo.address import required_address
from nablafx_core.tracking.notes import Notes
from nablafx_core.tracking.records import RunRecord, matching_id, plain_config
from nablafx_core.tracking.rows import Row

if TYPE_CHECKING:
    from pymongo.database import Database

_NOT_IN_RUN_JSON = frozenset(
    "_id config config_yaml info captured_out format values last_step tags note edited complete version "
    "deleting".split()
)
_LISTED = {"captured_out": 0, "config_yaml": 0, "info": 0}
_STAMPED = {"revision": 1, "values": 1, "edited": 1}
_AT_ONCE = 500


@dataclass(frozen=True)
class DocumentRecord(RunRecord):
    """A run as its document in MongoDB tells it.

    Attributes:
        document: of the collection `runs`.
        database: where its metrics are.
    """

    document: Mapping[str, Any] = field(default_factory=dict, repr=False)
    database: Database[dict[str, Any]] | None = field(default=None, repr=False)

    @property
    def quick_config(self) -> dict[str, Any]:
        """The experiment as Sacred has it."""
        return _mapping(self.document.get("config"))

    @cached_property
    def config(self) -> dict[str, Any]:
        """The experiment.

        Raises:
            RunError: if it is damaged.
        """
        text = self.document.get("config_yaml")
        if not isinstance(text, str) or not text:
            return self.quick_config
        try:
            return _mapping(plain_config(text.encode(), f"{self.folder}: config_yaml"))
        except ConfigError as error:
            raise RunError(str(error)) from error

    @cached_property
    def metrics(self) -> dict[str, Series]:
        """Everything that was logged, by name."""
        return {} if self.database is None else read_metrics(self.database, self.id)

    @property
    def last_step(self) -> int | None:
        """The step of the last value that was logged."""
        step = self.document.get("last_step")
        return step if isinstance(step, int) else None

    @property
    def info(self) -> dict[str, Any]:
        """The facts that the run noted."""
        return {key: value for key, value in _mapping(self.document.get("info")).items() if key != "metrics"}

    @cached_property
    def notes(self) -> Notes:
        """What people have said about it."""
        return Notes.of(self.document)

    @property
    def files(self) -> list[dict[str, Any]]:
        """Its artifacts: name, file_id, sha256, size. What is of another kind is left out."""
        kinds = {"name": str, "file_id": str, "sha256": str, "size": int}
        found = self.document.get("artifacts")
        return [
            one
            for one in (found if isinstance(found, list) else [])
            if isinstance(one, dict) and all(isinstance(one.get(key), kind) for key, kind in kinds.items())
        ]


class MongoBook:
    """The runs of a database.

    Args:
        database: of runs.
        place: what messages call it.
    """

    def __init__(self, database: Database[dict[str, Any]], place: str) -> None:
        self.database = database
        self._place = place

    @property
    def place(self) -> str:
        """The address, without user and password."""
        return f"MongoDB {self._place}"

    def rows(self) -> list[Row]:
        """All runs, the newest first. Only those that have changed since the last time are fetched; see `index`."""

        def read(run_ids: list[str]) -> Iterator[Row]:
            for batch in (run_ids[i : i + _AT_ONCE] for i in range(0, len(run_ids), _AT_ONCE)):
                for document in self.database["runs"].find({"_id": {"$in": batch}}, _LISTED):
                    yield Row.of(self._record(document))

        return current_rows(self.place, self._stamps(), read)

    def id_of(self, key: str) -> str:
        """See `Book.id_of`."""
        if key == "latest" and (rows := self.rows()):
            return rows[0].id
        return matching_id(list(self._stamps()), key, self.place)

    def find(self, key: str) -> DocumentRecord:
        """See `Book.find`."""
        run_id = self.id_of(key)
        document = self.database["runs"].find_one({"_id": run_id})
        if document is None:
            raise RunError(f"the run {run_id} has just been deleted from {self.place}.")
        return self._record(document)

    def edit(self, run_id: str, change: Callable[[Notes], Notes]) -> Notes:
        """Change tags and note in the run's document; what somebody else changes meanwhile is not lost."""
        runs = self.database["runs"]
        for _ in range(10):
            document = runs.find_one({"_id": run_id}, {"tags": 1, "note": 1, "edited": 1}) or {}
            before = Notes.of(document)
            notes = change(before)
            if notes == before:
                return notes
            unchanged = {"edited": document["edited"]} if "edited" in document else {"edited": {"$exists": False}}
            if runs.update_one({"_id": run_id, **unchanged}, {"$set": notes.entry()}).matched_count:
                return notes
        raise RunError(f"the run {run_id} in {self.place} is being edited by somebody else. Try again.")

    def check_deletable(self, run_id: str) -> None:
        """See `Book.check_deletable`."""
        if self.find(run_id).status == "RUNNING":
            raise RunError(f"the run {run_id} is still running. Stop it before you delete it.")

    def size(self, run_id: str) -> int:
        """Bytes of the files that no other run has."""
        return sum({one["file_id"]: one["size"] for one in self._own_files(run_id)}.values())

    def delete(self, run_id: str) -> None:
        """Remove a run, its metrics and the files that no other run has.

        It is marked first, which takes it out of every list, and its document goes last: what a kill leaves is
        removed with the next run that is deleted.
        """
        self.check_deletable(run_id)
        runs = self.database["runs"]
        runs.update_one({"_id": run_id}, {"$set": {"deleting": True}})
        for marked in [document["_id"] for document in runs.find({"deleting": True}, {"_id": 1})]:
            self.database["metrics"].delete_many({"run_id": marked})
            for one in self._own_files(marked):
                self.database["fs.files"].delete_one({"_id": one["file_id"]})
                self.database["fs.chunks"].delete_many({"files_id": one["file_id"]})
            runs.delete_one({"_id": marked})

    def _own_files(self, run_id: str) -> list[dict[str, Any]]:
        """The artifacts of a run that no other run names."""
        runs = self.database["runs"]
        document = runs.find_one({"_id": run_id}, {"artifacts": 1}) or {}
        files = DocumentRecord(run_id, Path(), "", document=document).files
        return [
            one
            for one in files
            if runs.find_one({"artifacts.file_id": one["file_id"], "_id": {"$ne": run_id}}, {"_id": 1}) is None
        ]

    def _stamps(self) -> dict[str, str]:
        """A text for each run that changes with its document. Ids that are no text are not of our runs."""
        found = self.database["runs"].find({"deleting": {"$ne": True}}, _STAMPED)
        return {
            one["_id"]: " ".join(str(one.get(key)) for key in _STAMPED) for one in found if isinstance(one["_id"], str)
        }

    def _record(self, document: Mapping[str, Any]) -> DocumentRecord:
        run_id = str(document["_id"])
        entry = entry_of(document)
        return DocumentRecord.of(run_id, Path(self._place, run_id), entry, document=document, database=self.database)


@contextmanager
def opened(text: str | None) -> Iterator[MongoBook]:
    """The lab book at an address.

    Args:
        text: a URL or a profile's name; None for the one of the environment or of the user's config file.

    Raises:
        ConfigError: if there is no address.
        RunError: if the server cannot be reached or refuses, also from within the ``with``.
    """
    from pymongo.errors import PyMongoError

    address = required_address(text)
    try:
        with address.database() as database:
            yield MongoBook(database, str(address))
            return
    except PyMongoError as error:
        reason = address.explained(error)
    raise RunError(f"MongoDB {address}: {reason}.")  # outside: its context could hold the URL


def entry_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """What `run.json` says, from a run's document."""
    entry = {key: _times_as_text(value) for key, value in document.items() if key not in _NOT_IN_RUN_JSON}
    names = [one.get("name") for one in entry.get("artifacts") or [] if isinstance(one, dict)]
    result = entry.get("result")
    if isinstance(result, dict):
        entry["result"] = {name: _number(value) for name, value in result.items()}
    return {**entry, "artifacts": [name for name in names if isinstance(name, str)]}


def read_metrics(database: Database[dict[str, Any]], run_id: str) -> dict[str, Series]:
    """The series of a run, from its chunks; where two hold a step, the one that has seen more values counts."""
    points: dict[str, dict[int, tuple[float, str]]] = {}
    chunks = list(database["metrics"].find({"run_id": run_id}))
    chunks.sort(key=lambda chunk: (chunk.get("seen") or 0, chunk.get("chunk") or 0))
    for chunk in chunks:
        try:
            rows = zip(chunk["steps"], chunk["values"], chunk["timestamps"], strict=True)
            for step, value, time in rows:
                text = time.isoformat() if isinstance(time, datetime) else ""
                points.setdefault(str(chunk["name"]), {})[int(step)] = (float(value), text)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise RunError(f"the run {run_id}: its metric {chunk.get('_id')} is damaged: {error}.") from error
    return {
        name: Series(steps := sorted(one), [one[step][0] for step in steps], [one[step][1] for step in steps])
        for name, one in points.items()
    }


def _number(value: Any) -> Any:
    return float(value) if value in ("NaN", "Infinity", "-Infinity") else value


def _times_as_text(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}
