"""Show the progress of a test on stderr."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

#: Called with the number of finished samples and their total.
OnProgress = Callable[[int, int], None]


@contextmanager
def shown_progress(
    what: str,
    seconds_per_line: float = 30.0,
    console: Console | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[OnProgress]:
    """Show progress: a bar on a terminal, which is removed at the end; a line at intervals elsewhere.

    Args:
        what: text before the bar, such as ``"Testing"``.
        seconds_per_line: smallest time in seconds between two lines if `console` is not a terminal.
        console: console to draw on; stderr if None.
        clock: function that returns a time in seconds; tests replace it.

    Yields:
        A function to call with the number of finished samples and their total.
    """
    console = console or Console(stderr=True)
    if not console.is_terminal or console.is_dumb_terminal:
        yield _lines(what, seconds_per_line, console, clock)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _lines(what: str, seconds: float, console: Console, clock: Callable[[], float]) -> OnProgress:
    last = clock()

    def show(done: int, total: int) -> None:
        nonlocal last
        if clock() - last >= seconds:
            last = clock()
            console.print(f"{what}  {100 * done / total:.0f} %", markup=False, highlight=False)

    return show
