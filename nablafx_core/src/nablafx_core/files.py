"""Read, check and write files; writes are atomic: to a temporary file in the same folder, then `os.replace`."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from platformdirs import user_cache_dir

from nablafx_core.errors import ConfigError, RunError


@contextmanager
def replacing(path: Path, alone: bool = True) -> Iterator[Path]:
    """Yield a temporary path in the same folder; its file replaces `path` at the end of the ``with``.

    If the ``with`` raises, the temporary file is removed and `path` stays as it was.

    Args:
        path: path of the file; its folder must exist.
        alone: True if there is only one writer at a time; the next writer then overwrites the temporary file that a
            killed one left. False if several processes may write the file at once.

    Raises:
        OSError: if the file cannot be written; it names `path`, which the system's error for a full disk does not.
    """
    start = os.fsencode(path.name)[:180].decode(errors="ignore")  # file systems limit the number of bytes of a name
    temporary = path.with_name(f".{path.name}.tmp" if alone else f".{start}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(temporary)) and error.errno:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def replace_bytes(path: Path, content: bytes | memoryview, sync: bool = False) -> None:
    """Write a file atomically: a reader sees either the old or the new content, never a part of it.

    Args:
        path: path of the file; its folder must exist. Only one process may write it at a time.
        content: content of the file.
        sync: True to wait until the content is on the disk, so that a power failure cannot leave an empty file.

    Raises:
        OSError: if the file cannot be written; it names `path`.
    """
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        if sync:
            os.fsync(file.fileno())


def replace_text(path: Path, text: str, sync: bool = False) -> None:
    """Write a text file atomically, as UTF-8; the arguments and errors are those of `replace_bytes`."""
    replace_bytes(path, text.encode(), sync)


def replace_json(path: Path, value: Any, sync: bool = False) -> None:
    """Write JSON atomically, in the format of Sacred's FileStorageObserver; NaN is written as ``NaN``.

    Raises:
        OSError: as `replace_bytes`.
        TypeError: if the value is not plain data.
    """
    replace_text(path, json.dumps(value, indent=2, sort_keys=True), sync)


def replace_copy(source: Path, path: Path) -> None:
    """Copy the content of a file to `path` atomically; create the folder of `path` if it is missing.

    Only one process may write `path` at a time.

    Raises:
        OSError: if the file cannot be read or written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        shutil.copyfile(source, temporary)


def cache_root() -> str:
    """Return the folder for cached files, which may not exist.

    It is the environment variable ``NABLAFX_CACHE`` if that is set and not empty, else ``nablafx`` in the user's cache
    folder of the system.
    """
    return os.environ.get("NABLAFX_CACHE") or user_cache_dir("nablafx", appauthor=False)


def read_json(path: str) -> Any:
    """Return the content of a JSON file; NaN and infinity are accepted.

    The file is read as bytes, which is faster than as text: a list of runs reads thousands of files.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if the content is not JSON.
        RecursionError: if the content is nested too deeply.
    """
    with opened(path) as file:
        return json.loads(file.read())


def file_hash(path: Path) -> tuple[str, int]:
    """Return the SHA-256 of a file in hexadecimal digits, and its size in bytes; the file is read in blocks.

    Raises:
        OSError: if the file cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    with opened(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
            size += len(block)
    return digest.hexdigest(), size


def opened(path: str | Path) -> BinaryIO:
    """Open a file to read its bytes; reject anything but a regular file, because reading a FIFO would block forever.

    Raises:
        OSError: if the file cannot be read, or is a folder, a FIFO, a socket or a device.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is a folder" if stat.S_ISDIR(mode) else "it is not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def inside(folder: Path, name: str) -> Path:
    """Return the path of a file that the record of a run names, and check that it is inside the run's folder.

    The file need not exist.

    Args:
        folder: folder that must contain the file.
        name: name relative to the folder, with "/" between its parts on every system.

    Raises:
        RunError: if the name is empty or absolute, contains an empty part, ".", "..", a colon (as of a drive), a
            backslash or NUL, or leads out of the folder through a symbolic link.
    """
    parts = name.split("/")
    if not name or any(part in ("", ".", "..") for part in parts) or re.search(r"[\\\0:]", name):
        raise RunError(
            f"'{name[:100]}' is not a valid name of a file of a run: expected a relative path without '.', '..', ':' "
            "and '\\'."
        )
    path = folder.joinpath(*parts)
    if not path.resolve().is_relative_to(folder.resolve()):
        raise RunError(f"'{name[:100]}' leads out of the folder of its run through a symbolic link. Remove the link.")
    return path


def readable(path: Path, what: str) -> str:
    """Check that a file can be read, and return its path as text, with ``~`` expanded.

    Args:
        path: path of the file.
        what: description of the file, for the message.

    Raises:
        ConfigError: if the file does not exist, is a folder or cannot be read.
    """
    path = path.expanduser()
    try:
        path.open("rb").close()
    except OSError as error:
        raise ConfigError(f"{what}: {path} cannot be read: {error.strerror}.") from None
    return str(path)
