"""The runs of a MongoDB, behind the interface that commands also use for folders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nablafx_core.errors import RunError
from nablafx_core.mongo.address import required_address
from nablafx_core.mongo.document_record import DocumentRecord, entry_of
from nablafx_core.runs.index import current_rows
from nablafx_core.runs.notes import Notes
from nablafx_core.runs.records import matching_id
from nablafx_core.runs.rows import Row

if TYPE_CHECKING:
    from pymongo.database import Database

_LISTED_RUNS = {"deleting": {"$ne": True}}
_LISTED = {"captured_out": 0, "config_yaml": 0, "info": 0}  # parts of a document that a list does not need
#: Parts of a document of which one changes with every change of the run.
_STAMPED = {"revision": 1, "values": 1, "edited": 1}
_AT_ONCE = 500  # documents of a request


class MongoBook:
    """All runs of a database.

    Args:
        database: database of the runs.
        place: address of the database for messages, without user and password.
    """

    def __init__(self, database: Database[dict[str, Any]], place: str) -> None:
        self.database = database
        self._place = place

    @property
    def place(self) -> str:
        """Name of the database for messages, such as ``MongoDB host:27017/nablafx``; without user and password."""
        return f"MongoDB {self._place}"

    def rows(self) -> list[Row]:
        """Return all runs, the newest first.

        Only runs that have changed since an earlier call, also of another process, are fetched; see `index`. Runs that
        are being deleted are left out.
        """

        def read(run_ids: list[str]) -> Iterator[Row]:
            for batch in (run_ids[i : i + _AT_ONCE] for i in range(0, len(run_ids), _AT_ONCE)):
                for document in self.database["runs"].find({"_id": {"$in": batch}}, _LISTED):
                    yield Row.of(self._record(document))

        return current_rows(self.place, self._stamps(), read)

    def id_of(self, key: str) -> str:
        """Return the id of a run; see `Book.id_of`."""
        if key == "latest" and (rows := self.rows()):
            return rows[0].id
        if self.database["runs"].find_one({"_id": key, **_LISTED_RUNS}, {"_id": 1}) is not None:
            return key
        return matching_id(list(self._stamps()), key, self.place)

    def find(self, key: str) -> DocumentRecord:
        """Return one run; see `Book.find`."""
        run_id = self.id_of(key)
        document = self.database["runs"].find_one({"_id": run_id})
        if document is None:
            raise RunError(f"the run {run_id} has just been deleted from {self.place}.")
        return self._record(document)

    def edit(self, run_id: str, change: Callable[[Notes], Notes]) -> Notes:
        """Change tags and note in the run's document, without losing changes that another user makes meanwhile.

        Returns:
            The tags and the note after the change.

        Raises:
            RunError: if others have changed them during each of ten attempts.
        """
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
        raise RunError(f"the run {run_id} in {self.place} is being edited by another user. Try again.")

    def check_deletable(self, run_id: str) -> None:
        """Check that a run can be deleted; see `Book.check_deletable`."""
        if self.find(run_id).status == "RUNNING":
            raise RunError(f"the run {run_id} is still running. Stop it before you delete it.")

    def size(self, run_id: str) -> int:
        """Return the number of bytes that a deletion frees: of the files that no other run has."""
        return sum({one["file_id"]: one["size"] for one in self._own_files(run_id)}.values())

    def delete(self, run_id: str) -> None:
        """Delete a run, its metrics and the files that no other run has.

        The run is marked first, which removes it from every list, and its document is deleted last. If this is
        killed, the next deletion of any run removes the rest.

        Raises:
            RunError: if the run is still running, or there is no such run.
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
        """Return the artifacts of a run whose files no other run has."""
        runs = self.database["runs"]
        document = runs.find_one({"_id": run_id}, {"artifacts": 1}) or {}
        files = DocumentRecord(run_id, Path(), "", document=document).files
        return [
            one
            for one in files
            if runs.find_one({"artifacts.file_id": one["file_id"], "_id": {"$ne": run_id}}, {"_id": 1}) is None
        ]

    def _stamps(self) -> dict[str, str]:
        """Return for each run a text that changes whenever its document does; skip ids that are not strings."""
        found = self.database["runs"].find(_LISTED_RUNS, _STAMPED)
        return {
            one["_id"]: " ".join(str(one.get(key)) for key in _STAMPED) for one in found if isinstance(one["_id"], str)
        }

    def _record(self, document: Mapping[str, Any]) -> DocumentRecord:
        run_id = str(document["_id"])
        entry = entry_of(document)
        return DocumentRecord.of(run_id, Path(self._place, run_id), entry, document=document, database=self.database)


@contextmanager
def opened(text: str | None, source: str = "mongo") -> Iterator[MongoBook]:
    """Open the runs of the MongoDB at an address.

    Args:
        text: URL or name of a profile; None for the address in the environment or in the user's config file.
        source: argument or option that contains the text, for messages.

    Raises:
        ConfigError: if there is no address.
        RunError: if the server cannot be reached or refuses, also inside the block.
    """
    from pymongo.errors import PyMongoError

    address = required_address(text, source)
    try:
        with address.database() as database:
            yield MongoBook(database, str(address))
            return
    except PyMongoError as error:
        reason = address.explained(error)
    raise RunError(f"MongoDB {address}: {reason}.")  # outside the handler: the error's context could contain the URL
