"""Distinguish a Ctrl-C from an exception of the same class that some code raises."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: True after a Ctrl-C, False before one, None if no handler records them (for example in a notebook).
_seen: bool | None = None


@contextmanager
def noted_interrupts() -> Iterator[None]:
    """Record each Ctrl-C inside the ``with``, so that `is_interrupt` recognises a KeyboardInterrupt raised by code.

    A handler that is not Python's own is kept: it was installed, or the signal was ignored, on purpose. Then, and
    outside the main thread, nothing is recorded.
    """
    global _seen
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, _on_interrupt)
    _seen = False
    try:
        yield
    finally:
        _seen = None
        if signal.getsignal(signal.SIGINT) is _on_interrupt:
            signal.signal(signal.SIGINT, before)


def note_interrupt() -> None:
    """Record a Ctrl-C; to be called by other signal handlers that raise KeyboardInterrupt."""
    global _seen
    _seen = True


def _on_interrupt(number: int, frame: Any) -> None:
    note_interrupt()
    raise KeyboardInterrupt


def is_interrupt(error: BaseException | None) -> bool:
    """Return True if an exception is a Ctrl-C, or was raised because of one or while one was handled.

    A subclass of KeyboardInterrupt is not a Ctrl-C. Inside `noted_interrupts`, a KeyboardInterrupt counts as a Ctrl-C
    only after one was recorded; elsewhere, every KeyboardInterrupt counts.
    """
    passed: set[int] = set()
    while error is not None and id(error) not in passed:  # an exception that is raised again may be its own context
        if type(error) is KeyboardInterrupt:
            return _seen is not False
        passed.add(id(error))
        error = error.__cause__ or error.__context__
    return False
