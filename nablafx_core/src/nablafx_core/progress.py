"""Progress of long operations, on stderr."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_PATIENCE_SECONDS = 1.0

Advance = Callable[[float], None]


@contextmanager
def progress(what: str, total: float, patience: float = _PATIENCE_SECONDS) -> Iterator[Advance]:
    """Show the progress of an operation on stderr when it has taken `patience` seconds and is not finished.

    On a terminal, a bar that disappears at the end. Elsewhere, one line that names the operation. Nothing is shown
    before the yielded function is called.

    Args:
        what: description such as ``"Examining 3,000 recordings"``.
        total: total amount of work, in any unit.
        patience: seconds before anything is shown.

    Yields:
        A function that adds an amount, in the unit of `total`, to the finished work. Any thread may call it.
    """
    shown = _Shown(what, total, patience)
    try:
        yield shown.advance
    finally:
        shown.close()


class _Shown:
    def __init__(self, what: str, total: float, patience: float) -> None:
        self._what, self._total, self._done = what, total, 0.0
        self._due = time.monotonic() + patience
        self._lock = threading.Lock()
        self._bar: Any = None
        self._is_shown = False

    def advance(self, amount: float) -> None:
        with self._lock:
            self._done += amount
            if not self._is_shown and time.monotonic() >= self._due and self._done < self._total:
                self._is_shown = True
                self._open()
            if self._bar is not None:
                self._bar.update(0, completed=self._done)

    def close(self) -> None:
        with self._lock:
            if self._bar is not None:
                self._bar.stop()
                self._bar = None

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        if not console.is_terminal or console.is_dumb_terminal:
            console.print(f"{self._what} …", soft_wrap=True, markup=False, highlight=False)
            return
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
        )
        # Output that is piped to another program must stay on stdout.
        redirect = sys.stdout.isatty()
        self._bar = Progress(*columns, console=console, transient=True, redirect_stdout=redirect)
        self._bar.add_task(self._what, total=self._total)
        self._bar.start()
