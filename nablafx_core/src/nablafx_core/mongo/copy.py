"""Update the copy of a run in MongoDB from its folder; repeated and concurrent updates give the same copy."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pymongo import ReplaceOne
from pymongo.database import Database
from pymongo.errors import (
    BulkWriteError,
    DuplicateKeyError,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    WriteError,
)

from nablafx_core.errors import RunError
from nablafx_core.files import inside, opened, read_json
from nablafx_core.hints import Once
from nablafx_core.mongo.artifacts import Content, content_of, is_stored, store
from nablafx_core.mongo.documents import fitting, has_nonfinite, marked, run_document
from nablafx_core.mongo.series import Chunk, Series
from nablafx_core.runs.notes import Notes, read_notes

_log = logging.getLogger(__name__)
_DUPLICATE = 11000  # code of a server that already has a document of this id
_BAD_VALUE = 8  # code of a server that refuses the form of a document
_OF_AN_END = ("stop_time", "fail_trace")
_AT_ONCE = 20  # number of chunks in one message, about 4 MB; fewer after a slow one
_INDEXES = {
    "metrics": [[("run_id", 1), ("name", 1), ("chunk", 1)]],
    "runs": [[("start_time", -1)], [("status", 1)], [("parent", 1)]],
    "fs.chunks": [[("files_id", 1), ("n", 1)]],
}

#: Function that returns `run.json` as it is in memory, and the lines of `metrics.jsonl` that are not on the disk.
Held = Callable[[], tuple[Mapping[str, Any], Sequence[bytes]]]


class RunCopy:
    """Track which parts of a run a database has, and send the rest: changed chunks, new files, the run's document.

    Each document is a function of the first part of an append-only file. It is written as a whole, and never replaces
    a document that depends on more of the file. So any number of updates, at any times and in any processes, give the
    same copy.

    Args:
        folder: folder of the run.
        held: function that the process of the run passes, because it has more data than its disk while that is full.

    Attributes:
        series: metrics of the run.
        unsent_files: artifacts that the database does not have.
    """

    def __init__(self, folder: Path, held: Held | None = None) -> None:
        self.folder = folder
        self.series = Series(folder / "metrics.jsonl")
        self.unsent_files: list[str] = []
        self._held = held
        self._marks: bool | None = None  # true if the server rejects NaN and infinity; None if unknown
        self._prepared = self._deep = self._compared = False
        self._arrived = 0
        self._seen_before = 0
        self._at_once = _AT_ONCE
        self._files: dict[str, tuple[tuple[int, int], Content]] = {}
        self._there: dict[str, Content] = {}
        self._once = Once()
        self._digests: dict[str, str] = {}
        self._version = ""
        self._notes = Notes()

    @property
    def progress(self) -> int:
        """Number of chunks and parts of files that have arrived; it never decreases."""
        return self._arrived

    @property
    def num_files(self) -> int:
        """Number of artifacts that the database has."""
        return len(self._there)

    def bring(
        self,
        database: Database[dict[str, Any]],
        go_on: Callable[[], bool] = lambda: True,
        last: bool = False,
        complete: bool = False,
    ) -> bool:
        """Update the copy; return true if the database has all files.

        Args:
            database: database of the copy.
            go_on: function that is called before each part of a file; sending stops if it returns false.
            last: if true, the run has ended and its folder is no longer written.
            complete: if true, mark the copy as complete if all files have arrived.

        Raises:
            RunError: if the folder cannot be read.
            PyMongoError: if the server cannot be reached or refuses.
        """
        self._prepare(database)
        try:
            entry, waiting = self._held() if self._held else (_mapping_in(self.folder / "run.json"), ())
            self._bring_metrics(database, waiting if last else (), last)
            self._bring_document(database, entry, False)
            self._bring_files(database, entry, go_on)
            whole = not self.unsent_files
            self._bring_document(database, entry, complete and whole)
            self._bring_notes(database)
        except OSError as error:
            raise RunError(f"{error.filename or self.folder}: cannot be read: {error.strerror or error}.") from error
        return whole

    def goes_on(self, database: Database[dict[str, Any]]) -> None:
        """Continue counting from the values that the database has; only for the process that runs a resumed run."""
        while self.series.read():
            pass
        known = database["metrics"].find({"run_id": self.folder.name}, {"seen": 1})
        self._seen_before = max(0, max((int(chunk["seen"]) for chunk in known), default=0) - self.series.seen)

    def missing(self, database: Database[dict[str, Any]]) -> list[str]:
        """Query the database, and return the names of metrics and files that it does not have."""
        there: dict[str, set[int]] = {}
        for document in database["metrics"].find({"run_id": self.folder.name}, {"name": 1, "steps": 1}):
            there.setdefault(document["name"], set()).update(document["steps"])
        mine = Series(self.series.path)
        steps: dict[str, set[int]] = {}
        while True:
            more = mine.read(last=True)
            for chunk in mine.unsent():
                steps.setdefault(chunk.name, set()).update(chunk.steps)
            mine.sent(mine.unsent())
            if not more:
                break
        files = [name for name, content in self._there.items() if not is_stored(database, content, chunks=True)]
        for name in files:
            del self._there[name]
        self._deep = True
        return [name for name in steps if steps[name] - there.get(name, set())] + files + self.unsent_files

    def forget_sent(self) -> None:
        """Mark all metrics as not sent, even those that the database reported to have."""
        self._digests = {}
        self.series.forget_sent()

    def _prepare(self, database: Database[dict[str, Any]]) -> None:
        if self._prepared:
            return
        for collection, indexes in _INDEXES.items():
            for keys in indexes:
                try:
                    database[collection].create_index(keys, unique=collection == "fs.chunks")
                except OperationFailure as error:  # the user may write but not create indexes
                    _log.debug("no index of %s: %s", collection, error.code)
        self._prepared = True

    def _bring_metrics(self, database: Database[dict[str, Any]], waiting: Sequence[bytes], last: bool) -> None:
        more = True
        while more:
            more = self.series.read(last)
            if not more:
                self.series.add(waiting)
            self._compare(database)
            while chunks := self.series.unsent()[: self._at_once]:
                try:
                    self._send(database, chunks)
                except NetworkTimeout:
                    self._at_once = max(1, len(chunks) // 4)
                    raise
                self.series.sent(chunks)
                self._arrived += len(chunks)

    def _compare(self, database: Database[dict[str, Any]]) -> None:
        """Query, once, the chunks that an earlier push or the run itself has sent."""
        if not self._compared:
            found = database["metrics"].find({"run_id": self.folder.name}, {"digest": 1})
            self._digests = {str(one["_id"]): str(one.get("digest")) for one in found}
            self._compared = True
        self.series.known(self._digests, self.folder.name)

    def _send(self, database: Database[dict[str, Any]], chunks: Sequence[Chunk]) -> None:
        seen = self.series.seen + self._seen_before
        documents = self._kept(database, [chunk.document(self.folder.name, seen) for chunk in chunks])
        requests = [
            ReplaceOne({"_id": document["_id"], "seen": {"$lte": seen}}, document, upsert=True)
            for document in documents
        ]
        try:
            database["metrics"].bulk_write(requests, ordered=False)
        except BulkWriteError as error:
            wrong = [one for one in error.details["writeErrors"] if one["code"] != _DUPLICATE]
            if wrong or error.details.get("writeConcernErrors"):
                raise _refusal(error, wrong) from None

    def _kept(self, database: Database[dict[str, Any]], documents: Any) -> Any:
        """Return the documents in a form that the server accepts: NaN and infinity as text if it rejects them.

        The server is tested with a separate document: when nx-27017 updates an existing document, it accepts such a
        number but is broken afterwards.
        """
        if self._marks is None and has_nonfinite(documents):
            asked = {"_id": f"{self.folder.name}: are numbers kept that are not finite?", "run_id": self.folder.name}
            try:
                database["metrics"].insert_one({**asked, "values": [math.nan]})
                self._marks = False
            except DuplicateKeyError:
                self._marks = False
            except WriteError as error:
                if error.code != _BAD_VALUE:
                    raise
                self._marks = True
            database["metrics"].delete_one({"_id": asked["_id"]})
        return marked(documents) if self._marks else documents

    def _bring_document(self, database: Database[dict[str, Any]], entry: Mapping[str, Any], complete: bool) -> None:
        revision, values = int(entry.get("revision", 0)), self.series.seen + self._seen_before
        # Sorts by state: of two documents of the same revision, the one with more values or files is newer.
        version = f"{revision:09d} {values:012d} {len(self._there):06d} {complete:d}"
        if version == self._version:
            return
        folder = {
            "config": _mapping_in(self.folder / "config.json"),
            "config_yaml": _text(self.folder / "config.yaml"),
            "info": _mapping_in(self.folder / "info.json", {}),
            "metrics": list(self._chunk_names()),
            "artifacts": [
                {"name": name, "file_id": content.file_id, "sha256": content.sha256, "size": content.size}
                for name, content in self._there.items()
            ],
            "revision": revision,
            "values": values,
            "last_step": self.series.last_step,
            "complete": complete,
            "version": version,
        }
        document, whole = fitting(run_document(entry, folder))
        if not whole:
            self._warn_once("its info is too large for MongoDB, and is only in the run folder")
        document = self._kept(database, document)
        over = {key: "" for key in _OF_AN_END if key not in document}  # values of an earlier end, before a resume
        update = {"$set": document, **({"$unset": over} if over else {})}
        with suppress(DuplicateKeyError):  # the database has a newer document
            database["runs"].update_one({"_id": self.folder.name, "version": {"$lte": version}}, update, upsert=True)
        self._version = version

    def _chunk_names(self) -> Iterator[dict[str, str]]:
        for name, count in self.series.chunks.items():
            for number in range(count):
                yield {"id": Chunk(name, number).document_id(self.folder.name), "name": name}

    def _bring_files(
        self, database: Database[dict[str, Any]], entry: Mapping[str, Any], go_on: Callable[[], bool]
    ) -> None:
        self.unsent_files = [str(name) for name in entry.get("artifacts") or []]
        for name in list(self.unsent_files):
            try:
                path = inside(self.folder, name)
                content = self._content(name, path)
                if self._there.get(name) != content and not is_stored(database, content, chunks=self._deep):
                    filename = f"artifact://runs/{self.folder.name}/{name}"
                    if not store(database, path, content, filename, self._counted(go_on)):
                        continue
                self._there[name] = content
                self.unsent_files.remove(name)
            except (OSError, RunError) as error:
                self._warn_once(f"its file {name} cannot be sent ({getattr(error, 'strerror', None) or error})")

    def _counted(self, go_on: Callable[[], bool]) -> Callable[[], bool]:
        """Return `go_on` with a counter of parts that have arrived, because it is called before each next part."""
        parts = iter((0,))

        def asked() -> bool:
            self._arrived += next(parts, 1)
            return go_on()

        return asked

    def _content(self, name: str, path: Path) -> Content:
        facts = path.stat()
        stamp = facts.st_mtime_ns, facts.st_size
        if name not in self._files or self._files[name][0] != stamp:
            self._files[name] = stamp, content_of(path)
        return self._files[name][1]

    def _bring_notes(self, database: Database[dict[str, Any]]) -> None:
        notes = read_notes(self.folder)
        if notes == self._notes or notes.edited is None:
            return
        older = {"$or": [{"edited": {"$exists": False}}, {"edited": {"$lt": notes.edited}}]}
        database["runs"].update_one({"_id": self.folder.name, **older}, {"$set": notes.entry()})
        self._notes = notes

    def _warn_once(self, what: str) -> None:
        if self._once.first(what):
            _log.warning("run %s: %s.", self.folder.name, what)


def _refusal(error: BulkWriteError, wrong: Sequence[Mapping[str, Any]]) -> PyMongoError:
    """Return one of several errors of the server, without the documents, which pymongo's message would contain."""
    if wrong:
        return WriteError(str(wrong[0].get("errmsg", "refused")), wrong[0].get("code"))
    return error


def _text(path: Path) -> str:
    try:
        with opened(path) as file:
            return file.read().decode("utf-8")
    except FileNotFoundError:
        return ""


def _mapping_in(path: Path, otherwise: Any = None) -> Any:
    """Return the mapping in a JSON file.

    Raises:
        RunError: if the file is missing and `otherwise` is None, or if the file is damaged.
    """
    try:
        found = read_json(str(path))
    except FileNotFoundError:
        if otherwise is not None:
            return otherwise
        raise RunError(f"{path}: is missing: this is not a run folder.") from None
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}: is damaged: {error}.") from None
    if not isinstance(found, dict):
        raise RunError(f"{path}: is damaged: expected a mapping.")
    return found
