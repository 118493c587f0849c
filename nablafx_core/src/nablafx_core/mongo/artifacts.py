"""Store files of runs in GridFS, each content once, with its hash as the id.

Missing chunks are inserted first, and the document of the file last. If a process is killed or several processes store
the same file, the next process inserts what is missing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError, OperationFailure

from nablafx_core.files import file_hash, opened
from nablafx_core.runs.content_types import content_type

CHUNK_BYTES = 255 * 1024
"""Number of bytes of a document of `fs.chunks`, the default of GridFS."""


@dataclass(frozen=True)
class Content:
    """Hash and size of a file.

    Attributes:
        sha256: SHA-256 hash in hexadecimal digits.
        size: number of bytes.
    """

    sha256: str
    size: int

    @property
    def file_id(self) -> str:
        """Id of the file's document in `fs.files`."""
        return f"sha256:{self.sha256}"

    @property
    def num_chunks(self) -> int:
        """Number of the file's documents in `fs.chunks`."""
        return -(-self.size // CHUNK_BYTES)


def content_of(path: Path) -> Content:
    """Read a file's hash and size.

    Raises:
        OSError: if the file cannot be read.
    """
    return Content(*file_hash(path))


def is_stored(database: Database[dict[str, Any]], content: Content, chunks: bool = False) -> bool:
    """Return true if the database has a file.

    Args:
        database: database to query.
        content: hash and size of the file.
        chunks: if true, count the chunks too. They can be missing only if they were deleted, because the document of
            the file is written last.
    """
    whole = {"_id": content.file_id, "length": content.size, "metadata.sha256": content.sha256}
    if database["fs.files"].find_one(whole) is None:
        return False
    return not chunks or len(_present(database, content)) == content.num_chunks


def store(
    database: Database[dict[str, Any]],
    path: Path,
    content: Content,
    filename: str,
    go_on: Callable[[], bool] = lambda: True,
) -> bool:
    """Store the parts of a file that the database does not have.

    Args:
        database: database that receives the file.
        path: path of the file.
        content: result of `content_of` for the file.
        filename: name in `fs.files`, used if no earlier run has stored the file.
        go_on: function that is called before each part; storing stops if it returns false.

    Returns:
        True if the file is stored; False if `go_on` returned false, or if the file has changed meanwhile.

    Raises:
        OSError: if the file cannot be read.
        PyMongoError: if the server refuses it.
    """
    present, digest = _present(database, content), hashlib.sha256()
    with opened(path) as file:
        for number in range(content.num_chunks):
            data = file.read(CHUNK_BYTES)
            digest.update(data)
            if number not in present:
                if not go_on():
                    return False
                _insert(database["fs.chunks"], {"files_id": content.file_id, "n": number, "data": data})
    if digest.hexdigest() != content.sha256:
        return False
    kind = content_type(filename)
    metadata = {"sha256": content.sha256, "name": filename.rpartition("/")[2], "contentType": kind}
    document = {
        "_id": content.file_id,
        "length": content.size,
        "chunkSize": CHUNK_BYTES,
        "uploadDate": datetime.now(timezone.utc),
        "filename": filename,
        "contentType": kind,
        "metadata": metadata,
    }
    _insert(database["fs.files"], document)
    return True


def _present(database: Database[dict[str, Any]], content: Content) -> set[int]:
    """Return the numbers of the chunks that the database has."""
    return {int(chunk["n"]) for chunk in database["fs.chunks"].find({"files_id": content.file_id}, {"n": 1})}


def _insert(collection: Collection[dict[str, Any]], document: dict[str, Any]) -> None:
    """Insert a document; ignore the error if another process has just inserted it."""
    try:
        collection.insert_one(document)
    except OperationFailure as error:
        # nx-27017 gives this error no code
        if not isinstance(error, DuplicateKeyError) and "UNIQUE constraint" not in str(error):
            raise
