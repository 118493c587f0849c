"""A disk that refuses, for tests on POSIX systems."""

from __future__ import annotations

import contextlib

import pytest

resource = pytest.importorskip("resource", reason="limits of file sizes, which stand for a full disk, are POSIX")


@contextlib.contextmanager
def full_disk(size):
    """Refuse, as a full disk does, every byte of a file after the first `size`."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
