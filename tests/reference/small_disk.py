"""Folder that is full or read-only, for tests on POSIX systems."""

from __future__ import annotations

import contextlib
import os
import subprocess

import pytest

from reference.full_disk import full_disk


@contextlib.contextmanager
def small_disk(folder, room, fill=lambda folder: None, read_only=False):
    """Provide a folder on a file system with room for about `room` more bytes: a tmpfs, if one can be mounted.

    Otherwise a limit on the size of files stands for a full disk, and a folder without write permission for a
    read-only disk.

    Args:
        folder: folder to create.
        room: free bytes after `fill`.
        fill: function of the folder that writes the initial content.
        read_only: refuse all writes after `fill`.
    """
    folder.mkdir()
    if not _mount("-t", "tmpfs", "tmpfs", folder):
        with _limited(folder, room, fill, read_only):
            yield
        return
    try:
        fill(folder)
        disk = os.statvfs(folder)
        size = (disk.f_blocks - disk.f_bfree) * disk.f_frsize + room
        if not _mount("-o", "remount,ro" if read_only else f"remount,size={max(size, 4096)}", folder):
            pytest.skip("a tmpfs cannot be changed here")
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)  # lazily, since a reader may have a file of it open


def _mount(*arguments):
    with contextlib.suppress(OSError):
        return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0
    return False


@contextlib.contextmanager
def _limited(folder, room, fill, read_only):
    fill(folder)
    if not read_only:
        with full_disk(room):
            yield
        return
    if os.geteuid() == 0:
        pytest.skip("root writes into every folder, and no file system can be mounted here")
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    for path in folders:
        path.chmod(0o555)
    try:
        yield
    finally:
        for path in folders:
            path.chmod(0o755)
