"""Writing that a kill cannot tear: a temporary name, then `os.replace`."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any


def replace_text(path: Path, text: str, sync: bool = False) -> None:
    """Write a text file atomically: a reader sees the old content or the new one, never a part.

    Args:
        path: its folder must exist; one writer at a time.
        text: written as UTF-8.
        sync: wait until the content is on the disk, so that a power cut leaves no empty file.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        if sync:
            file.flush()
            os.fsync(file.fileno())
    os.replace(temporary, path)


def replace_json(path: Path, value: Any, sync: bool = False) -> None:
    """Write JSON atomically, in the form of Sacred's FileStorageObserver. Not-a-number is written as ``NaN``."""
    replace_text(path, json.dumps(value, indent=2, sort_keys=True), sync)


def replace_copy(source: Path, path: Path) -> None:
    """Copy a file to `path` atomically; makes the folder of `path` if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    shutil.copyfile(source, temporary)
    os.replace(temporary, path)
