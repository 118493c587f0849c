"""Fetch runs from MongoDB; check the hash and the name of each file before it gets its final path."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nablafx_core.errors import RunError
from nablafx_core.files import inside, replace_json, replace_text, replacing
from nablafx_core.runs.ids import check_id
from nablafx_core.runs.notes import write_notes

if TYPE_CHECKING:
    from nablafx_core.mongo.document_record import DocumentRecord
    from nablafx_core.mongo.mongo_book import MongoBook
    from nablafx_core.runs.metrics_file import Series

BUNDLE = "model.nfx"
_OURS = (
    "run.json",
    "config.json",
    "config.yaml",
    "metrics.json",
    "metrics.jsonl",
    "info.json",
    "notes.json",
    "cout.txt",
)


def pull_bundle(book: MongoBook, run_id: str, path: Path) -> int:
    """Fetch the bundle of a run, and return its size in bytes.

    Args:
        book: runs of the database.
        run_id: id of the run.
        path: path of the new file; its folder must exist.

    Raises:
        RunError: if the run has no bundle, the bundle is incomplete or damaged, or `path` is a different file.
    """
    found = [one for one in book.find(run_id).files if one["name"] == BUNDLE]
    if not found:
        raise RunError(f"the run {run_id} has no bundle ({BUNDLE}) in {book.place}.")
    if path.exists() and _hash(path) != found[0]["sha256"]:
        raise RunError(f"{path} exists and is a different file. Choose another name with --out.")
    _fetch(book, found[0], path)
    return int(found[0]["size"])


def pull_run(book: MongoBook, run_id: str, runs_dir: Path) -> Path:
    """Create the folder of a run from its copy in MongoDB, and return its path.

    Args:
        book: runs of the database.
        run_id: id of the run.
        runs_dir: folder of the run folders; created if missing.

    Raises:
        RunError: if the folder exists or cannot be written, the run is still running, or a file is damaged or has a
            name that leads out of the folder.
    """
    check_id(run_id)
    folder = inside(runs_dir, run_id)
    if folder.exists() or folder.is_symlink():
        raise RunError(f"{folder} exists and is not changed.")
    record = book.find(run_id)
    if record.status in ("RUNNING", "DAMAGED"):
        why = record.damage or "it is still running. Fetch it after its end."
        raise RunError(f"the run {run_id} in {book.place} cannot be fetched: {why}")
    hidden = runs_dir / f".pulling-{run_id}-{uuid.uuid4().hex[:8]}"
    try:
        hidden.mkdir(parents=True)
        for one in record.files:
            _fetch(book, one, _place_of(hidden, one["name"]))
        _write_records(hidden, record)
        if folder.exists():
            raise RunError(f"{folder} has just been created by another process and is not changed.")
        os.rename(hidden, folder)
    except OSError as error:
        raise RunError(f"{error.filename or hidden}: cannot be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    return folder


def _place_of(folder: Path, name: str) -> Path:
    """Return the path of an artifact, and create its folder; reject the names of the record's own files."""
    path = inside(folder, name)
    top = name.split("/")[0].lower()
    if top in _OURS or top.startswith(("lock.", ".")):
        raise RunError(f"'{name}' cannot be the name of an artifact: it is reserved for the run's record.")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _fetch(book: MongoBook, file: Mapping[str, Any], path: Path) -> None:
    """Fetch a file under a temporary name, and rename it if its size and its hash are right.

    Raises:
        RunError: if they are wrong, or the file cannot be written.
    """
    digest, size = hashlib.sha256(), 0
    chunks = book.database["fs.chunks"].find({"files_id": file["file_id"]}, {"data": 1, "n": 1}).sort("n", 1)
    try:
        with replacing(path, alone=False) as temporary, open(temporary, "wb") as target:
            for chunk in chunks:
                data = bytes(chunk["data"])
                digest.update(data)
                size += len(data)
                if size > file["size"]:  # a document with a wrong size must not fill the disk
                    break
                target.write(data)
            if size != file["size"] or digest.hexdigest() != file["sha256"]:
                raise RunError(
                    f"'{file['name']}' is incomplete or damaged in {book.place}: got {size:,} bytes of "
                    f"{file['size']:,}, or their hash differs. Push the run again from the machine that has its folder."
                )
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror or error}.") from error


def _write_records(folder: Path, record: DocumentRecord) -> None:
    """Write the files of the record, `run.json` last."""
    document, metrics = record.document, record.metrics
    text = document.get("config_yaml")
    if isinstance(text, str) and text:
        replace_text(folder / "config.yaml", text)
    replace_json(folder / "config.json", record.quick_config)
    replace_text(folder / "metrics.jsonl", _lines(metrics, document))
    replace_json(folder / "metrics.json", {name: vars(one) for name, one in metrics.items()})
    replace_text(folder / "cout.txt", "")
    if record.info:
        replace_json(folder / "info.json", record.info)
    if record.notes.edited is not None:
        write_notes(folder, record.notes)
    replace_json(folder / "run.json", record.entry, sync=True)


def _lines(metrics: Mapping[str, Series], document: Mapping[str, Any]) -> str:
    """Return the text of `metrics.jsonl`, sorted by the times at which the values were logged."""
    info = document.get("info")
    listed = info.get("metrics") if isinstance(info, Mapping) else None
    first = [str(one.get("name")) for one in listed if isinstance(one, Mapping)] if isinstance(listed, list) else []
    lines = [
        {"name": name, "step": step, "value": value, "timestamp": timestamp}
        for name in dict.fromkeys([*first, *metrics])
        if name in metrics
        for step, value, timestamp in zip(*vars(metrics[name]).values(), strict=True)
    ]
    lines.sort(key=lambda line: (line["timestamp"], line["step"]))
    return "".join(json.dumps(line) + "\n" for line in lines)


def _hash(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}.") from error
