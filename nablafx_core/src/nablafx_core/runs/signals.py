"""What Ctrl-C and SIGTERM do to a run."""

from __future__ import annotations

import logging
import os
import signal
import threading
from types import TracebackType
from typing import Any

from nablafx_core.interrupts import note_interrupt

_log = logging.getLogger(__name__)


class Interrupts:
    """Ctrl-C and SIGTERM stop a run once, and then wait until its record is written.

    The first raises KeyboardInterrupt, or, once the body has `ended`, is held back until the ``with`` is left. The
    second only says that the first is being obeyed. Another one raises again, for code that swallowed the first.
    In another thread than the main one nothing is done: Python lets no other thread handle signals.
    """

    def __init__(self) -> None:
        self.ended = False
        self._owner = os.getpid()
        self._seen = 0
        self._held: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
            # What nohup or a parent ignores stays ignored.
            self._previous = {n: handler for n, handler in handlers.items() if handler not in (signal.SIG_IGN, None)}
            self.arm()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        if self._held is not None:
            signal.raise_signal(self._held)

    def arm(self) -> None:
        """Take the signals (again: Lightning takes Ctrl-C away when it shuts down)."""
        for number in self._previous:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: Any) -> None:
        if os.getpid() != self._owner:  # a worker that was forked: it is no run
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
            signal.raise_signal(number)
            return
        self._seen += 1
        if self._seen == 1 and self.ended:
            self._held = number
        elif self._seen == 2:
            _log.warning("Stopping: the record of the run is being written. Once more to stop at once.")
        else:
            note_interrupt()
            raise KeyboardInterrupt(signal.Signals(number).name)
