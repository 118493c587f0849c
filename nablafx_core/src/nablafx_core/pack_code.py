"""Run the code of a pack: the one place that decides what is its failure, and where its output goes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from nablafx_core.interrupts import is_interrupt


class PackFailure(Exception):
    """An exception of a pack's code that does not derive from Exception, such as SystemExit or a panic in Rust.

    Args:
        original: that exception.
    """

    def __init__(self, original: BaseException) -> None:
        super().__init__(original)
        self.original = original

    def __str__(self) -> str:
        return f"{type(self.original).__name__}: {self.original}"


def is_failure(error: BaseException) -> bool:
    """Return True if an exception that leaves a pack's code is a failure of that code, False for a Ctrl-C."""
    return not is_interrupt(error)


@contextmanager
def contained() -> Iterator[None]:
    """Make every failure within an Exception, so that whoever handles exceptions handles it.

    Raises:
        PackFailure: if an exception that does not derive from Exception leaves the code within. A Ctrl-C passes.
    """
    try:
        yield
    except Exception:
        raise
    except BaseException as error:
        if not is_failure(error):
            raise
        raise PackFailure(error) from error


@contextmanager
def pack_code() -> Iterator[None]:
    """`contained`, and what this thread prints within goes to stderr, since stdout is for answers.

    Raises:
        PackFailure: as `contained` does.
    """
    with contained(), _printing_to_stderr():
        yield


_to_stderr: ContextVar[bool] = ContextVar("to_stderr", default=False)
_lock = threading.Lock()
_users = 0


class _Output:
    """A standard output that leads to stderr in the threads that run a pack's code, and in no other."""

    def __init__(self, stdout: Any) -> None:
        self.stdout = stdout

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr if _to_stderr.get() else self.stdout, name)


@contextmanager
def _printing_to_stderr() -> Iterator[None]:
    """Send the output of this thread to stderr; the others keep theirs, whichever of them comes or leaves first."""
    global _users
    with _lock:
        _users += 1
        output = sys.stdout if isinstance(sys.stdout, _Output) else _Output(sys.stdout)
        sys.stdout = output
    token = _to_stderr.set(True)
    try:
        yield
    finally:
        _to_stderr.reset(token)
        with _lock:
            _users -= 1
            if threading.active_count() == 1:  # else another thread may have replaced it, and not the pack
                sys.stdout = output
            if not _users and isinstance(sys.stdout, _Output):
                sys.stdout = sys.stdout.stdout
