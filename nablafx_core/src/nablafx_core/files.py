"""Writing that a kill cannot tear: a temporary name, then `os.replace`."""

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
    """A temporary name beside `path` that takes its place at the end of the ``with``, and is removed if that raises.

    Args:
        path: its folder must exist.
        alone: there is one writer at a time, so that what a kill leaves is written over by the next; False where
            several processes may write the file at once.

    Raises:
        OSError: naming `path`, which a full disk does not.
    """
    start = os.fsencode(path.name)[:180].decode(errors="ignore")  # file systems limit the bytes of a name
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
    """Write a file atomically: a reader sees the old content or the new one, never a part.

    Args:
        path: its folder must exist; one writer at a time.
        content: of the file.
        sync: wait until the content is on the disk, so that a power cut leaves no empty file.
    """
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        if sync:
            os.fsync(file.fileno())


def replace_text(path: Path, text: str, sync: bool = False) -> None:
    """Write a text file atomically, as UTF-8; see `replace_bytes`."""
    replace_bytes(path, text.encode(), sync)


def replace_json(path: Path, value: Any, sync: bool = False) -> None:
    """Write JSON atomically, in the form of Sacred's FileStorageObserver. Not-a-number is written as ``NaN``."""
    replace_text(path, json.dumps(value, indent=2, sort_keys=True), sync)


def replace_copy(source: Path, path: Path) -> None:
    """Copy a file to `path` atomically; makes the folder of `path` if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        shutil.copyfile(source, temporary)


def cache_root() -> str:
    """Return the folder for what can be made again: `NABLAFX_CACHE`, else that of the system for such files."""
    return os.environ.get("NABLAFX_CACHE") or user_cache_dir("nablafx", appauthor=False)


def read_json(path: str) -> Any:
    """What a JSON file holds. Thousands are read for a list: as bytes, which is quicker than as text.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is no JSON.
        RecursionError: if it is nested too deeply.
    """
    with opened(path) as file:
        return json.loads(file.read())


def file_hash(path: Path) -> tuple[str, int]:
    """Return the SHA-256 of a file in hexadecimal digits, and its size in bytes; read in blocks.

    Raises:
        OSError: if it cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    with opened(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
            size += len(block)
    return digest.hexdigest(), size


def opened(path: str | Path) -> BinaryIO:
    """Open a file to read its bytes; refuse anything but a regular file, because reading a FIFO would block forever.

    Raises:
        OSError: if it cannot be read, or is a folder, a FIFO, a socket or a device.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is a folder" if stat.S_ISDIR(mode) else "it is no regular file", str(path))
    return os.fdopen(descriptor, "rb")


def inside(folder: Path, name: str) -> Path:
    """The path of a file that a record names, in its folder.

    Args:
        folder: that the file must be in.
        name: relative, with "/" between its parts on every system.

    Raises:
        RunError: if the name is empty or absolute, has a drive, "..", a backslash or NUL in it, or leads out of the
            folder through a symbolic link.
    """
    parts = name.split("/")
    if not name or any(part in ("", ".", "..") for part in parts) or re.search(r"[\\\0:]", name):
        raise RunError(f"'{name[:100]}' cannot be the name of a file of a run.")
    path = folder.joinpath(*parts)
    if not path.resolve().is_relative_to(folder.resolve()):
        raise RunError(f"'{name[:100]}' leads out of the folder of its run.")
    return path


def readable(path: Path, what: str) -> str:
    """The path, as text.

    Raises:
        ConfigError: if there is no such file, or it cannot be read.
    """
    path = path.expanduser()
    try:
        path.open("rb").close()
    except OSError as error:
        raise ConfigError(f"{what}: {path} cannot be read: {error.strerror}.") from None
    return str(path)
