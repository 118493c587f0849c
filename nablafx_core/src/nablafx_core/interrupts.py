"""Tell a Ctrl-C from an exception of the same class that some code raises."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: True after a Ctrl-C, False while none has come, None while nobody notes them (in a notebook, for example).
_seen: bool | None = None


@contextmanager
def noted_interrupts() -> Iterator[None]:
    """Note each Ctrl-C within, so that `is_interrupt` can tell it from a KeyboardInterrupt that code raises.

    A handler that is not Python's own stays: whoever installed it, or ignored the signal, wanted it.
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
    """Note a Ctrl-C; for signal handlers that raise KeyboardInterrupt."""
    global _seen
    _seen = True


def _on_interrupt(number: int, frame: Any) -> None:
    note_interrupt()
    raise KeyboardInterrupt


def is_interrupt(error: BaseException | None) -> bool:
    """Return True if an exception is a Ctrl-C, or was raised because of one or while one was handled.

    A subclass of KeyboardInterrupt is none, nor is a KeyboardInterrupt while Ctrl-C is noted and none has come.
    """
    while error is not None:
        if type(error) is KeyboardInterrupt:
            return _seen is not False
        error = error.__cause__ or error.__context__
    return False
