"""Complete copies of runs in MongoDB that could not be sent completely while they ran."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo.database import Database
from pymongo.errors import AutoReconnect, ServerSelectionTimeoutError

from nablafx_core.mongo.copy import RunCopy
from nablafx_core.runs.notes import read_notes
from nablafx_core.runs.records import RunRecord

_TRIES = 3  # attempts without progress after which a push gives up


@dataclass(frozen=True)
class Pushed:
    """Result of a push.

    Args:
        id: id of the run.
        values: number of logged values.
        files: number of files that the database has.
        missing: names of metrics and files in the folder that the database does not have.
        running: true if the run is still running, so that more data will follow.
    """

    id: str
    values: int
    files: int
    missing: list[str]
    running: bool


def push(folder: Path, database: Database[dict[str, Any]]) -> Pushed:
    """Send the data of a run that the database does not have, and check that it has arrived.

    Pushing twice, or from two processes at once, gives the same copy as pushing once.

    Args:
        folder: folder of the run; of a running run, the present data is sent.
        database: database of the copy.

    Raises:
        RunError: if the folder cannot be read.
        PyMongoError: if the server cannot be reached or refuses.
    """
    running = RunRecord.read(folder).status == "RUNNING"
    copy = RunCopy(folder)
    missing: list[str] = []
    for attempt in range(_TRIES):
        _bring(copy, database, last=not running)
        missing = copy.missing(database)
        if not missing:
            break
        if attempt and not running:
            copy.goes_on(database)
        copy.forget_sent()
    if not (running or missing):
        copy.bring(database, last=True, complete=True)
    return Pushed(folder.name, copy.series.seen, copy.num_files, missing, running)


def _bring(copy: RunCopy, database: Database[dict[str, Any]], last: bool) -> None:
    """Update a copy; after a lost connection or a timeout, try again as long as data arrives."""
    stalled = 0
    while True:
        before = copy.progress
        try:
            copy.bring(database, last=last)
            return
        except AutoReconnect as error:  # includes timeouts
            stalled = 0 if copy.progress > before else stalled + 1
            if stalled == _TRIES or isinstance(error, ServerSelectionTimeoutError):
                raise


def incomplete(records: Iterable[RunRecord], database: Database[dict[str, Any]]) -> list[RunRecord]:
    """Return the runs whose copy in the database is missing or incomplete."""
    wanted = {"revision": 1, "complete": 1, "edited": 1}
    there = {document["_id"]: document for document in database["runs"].find({}, wanted)}

    def lacks(record: RunRecord) -> bool:
        document = there.get(record.id)
        if document is None or not document.get("complete"):
            return True
        return int(document.get("revision", 0)) < int(record.entry.get("revision", 0)) or (
            read_notes(record.folder).edited or ""
        ) > str(document.get("edited") or "")

    return [record for record in records if record.status != "DAMAGED" and lacks(record)]
