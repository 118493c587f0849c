"""Simulated full disk, for tests on POSIX systems."""

from __future__ import annotations

import contextlib
import sys

import pytest

resource = pytest.importorskip("resource", reason="limits of file sizes, which stand for a full disk, are POSIX")


@contextlib.contextmanager
def full_disk(size):
    """Refuse every byte of a file after the first `size`, as a full disk does.

    Python does not write compiled modules meanwhile, since it would later read truncated ones.
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
