"""A disk that refuses, for tests on POSIX systems."""

from __future__ import annotations

import contextlib
import sys

import pytest

resource = pytest.importorskip("resource", reason="limits of file sizes, which stand for a full disk, are POSIX")


@contextlib.contextmanager
def full_disk(size):
    """Refuse, as a full disk does, every byte of a file after the first `size`.

    Python writes no compiled modules meanwhile: it would read again what is cut off.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "dont_write_bytecode", True)
        patch.setenv("PYTHONDONTWRITEBYTECODE", "1")  # of child processes
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
