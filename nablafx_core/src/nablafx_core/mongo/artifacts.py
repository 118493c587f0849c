"""Files of runs in GridFS, each content once, under the name of its hash.

Chunks are inserted if they are not there, and the document of the file last: what a kill left half-done, or another
process does at the same time, is completed by whoever comes next.
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
"""Of a document of `fs.chunks`, as GridFS has it."""


@dataclass(frozen=True)
class Content:
    """What a file holds.

    Attributes:
        sha256: in hexadecimal digits.
        size: bytes.
    """

    sha256: str
    size: int

    @property
    def file_id(self) -> str:
        """Its ``_id`` in `fs.files`."""
        return f"sha256:{self.sha256}"

    @property
    def num_chunks(self) -> int:
        """Documents in `fs.chunks`."""
        return -(-self.size // CHUNK_BYTES)


def content_of(path: Path) -> Content:
    """Read a file's hash and size.

    Raises:
        OSError: if it cannot be read.
    """
    return Content(*file_hash(path))


def is_stored(database: Database[dict[str, Any]], content: Content, chunks: bool = False) -> bool:
    """Whether the database has it.

    Args:
        database: that is asked.
        content: of the file.
        chunks: count them too. The document of the file is written last, so that without somebody who deletes there
            is no need.
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
    """Store what the database lacks of a file.

    Args:
        database: to store it in.
        path: of the file.
        content: that `content_of` found.
        filename: in `fs.files`, of the first run that has it.
        go_on: asked between messages.

    Returns:
        Whether it is there now: not if `go_on` said no, or if the file has changed meanwhile.

    Raises:
        OSError: if it cannot be read.
        PyMongoError: if the server does not take it.
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
    """Numbers of the chunks that are there."""
    return {int(chunk["n"]) for chunk in database["fs.chunks"].find({"files_id": content.file_id}, {"n": 1})}


def _insert(collection: Collection[dict[str, Any]], document: dict[str, Any]) -> None:
    """Insert a document, unless another process has done so just now."""
    try:
        collection.insert_one(document)
    except OperationFailure as error:
        # nx-27017 gives this one no code
        if not isinstance(error, DuplicateKeyError) and "UNIQUE constraint" not in str(error):
            raise
