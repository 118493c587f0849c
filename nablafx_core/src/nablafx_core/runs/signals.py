"""Handle Ctrl-C and SIGTERM during a run."""

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
    """Context manager that stops a run once at Ctrl-C or SIGTERM, and lets its record be written.

    The first signal raises KeyboardInterrupt or, once the body has `ended`, is delayed until the end of the block.
    The second one only logs that the run is being stopped. Later ones raise again, for code that caught the first.
    A signal that was ignored before stays ignored. A forked child reacts to signals as Python does by default.
    In a thread other than the main one nothing is done, because Python handles signals only in the main thread.

    Attributes:
        ended: true once the body of the run has ended and its record is being written; set by `record`.
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
            # A signal that nohup or a parent process ignores stays ignored.
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
        """Install the handlers; call this again after Lightning, which replaces that of Ctrl-C when it shuts down."""
        for number in self._previous:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: Any) -> None:
        if os.getpid() != self._owner:  # a forked worker does not record the run
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
            signal.raise_signal(number)
            return
        self._seen += 1
        if self._seen == 1 and self.ended:
            self._held = number
        elif self._seen == 2:
            _log.warning("Stopping: the run's record is being written. Press Ctrl-C once more to stop immediately.")
        else:
            note_interrupt()
            raise KeyboardInterrupt(signal.Signals(number).name)
