"""Run the code of a pack: define which exceptions are failures of the pack, and redirect its output to stderr."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from nablafx_core.interrupts import is_interrupt


class PackFailure(Exception):
    """Failure of a pack's code with an exception that does not derive from Exception, such as SystemExit.

    Args:
        original: exception that the code raised.
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
    """Convert exceptions that do not derive from Exception, so that ``except Exception`` catches all failures.

    Exceptions that derive from Exception, and a Ctrl-C, pass unchanged.

    Raises:
        PackFailure: if any other exception, such as SystemExit, is raised inside the ``with``.
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
    """Apply `contained`, and send what this thread prints to stderr, because stdout is reserved for answers.

    Raises:
        PackFailure: as `contained` does.
    """
    with contained(), _printing_to_stderr():
        yield


_to_stderr: ContextVar[bool] = ContextVar("to_stderr", default=False)
_lock = threading.Lock()
_users = 0


class _Output:
    """Standard output that leads to stderr in threads that run a pack's code, and to stdout in others."""

    def __init__(self, stdout: Any) -> None:
        self.stdout = stdout

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr if _to_stderr.get() else self.stdout, name)


@contextmanager
def _printing_to_stderr() -> Iterator[None]:
    """Send the output of this thread to stderr; other threads keep theirs, in whatever order they enter and leave."""
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
            if threading.active_count() == 1:  # with other threads, the pack may not be the one that replaced it
                sys.stdout = output
            if not _users and isinstance(sys.stdout, _Output):
                sys.stdout = sys.stdout.stdout
