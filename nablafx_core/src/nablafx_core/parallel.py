"""The same function for many items, on every core."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from nablafx_core.progress import progress

T = TypeVar("T")
R = TypeVar("R")


def mapped(function: Callable[[T], R], items: Iterable[T], what: str, threads: int | None = None) -> list[R]:
    """Call a function for each item in threads, with progress on stderr.

    For functions that release Python's lock most of the time, as reading files and NumPy's FFT do. Ctrl-C is answered
    at once: no other item is begun, and those in progress are not waited for.

    Args:
        function: called in several threads at a time.
        items: one argument each.
        what: what is shown, such as ``"Examining 3,000 recordings"``.
        threads: how many; the cores that this process may use if None.

    Returns:
        The results in the order of the items.

    Raises:
        Exception: what the function raised for the first item for which it raised.
    """
    waiting = list(enumerate(items))
    results: list[Any] = [None] * len(waiting)
    count = min(len(waiting), threads or _cores())
    with progress(what, len(waiting)) as advance:
        if count < 2:
            for index, item in waiting:
                results[index] = function(item)
                advance(1)
            return results
        waiting.reverse()
        done: queue.SimpleQueue[tuple[int, Any, BaseException | None] | None] = queue.SimpleQueue()
        for number in range(count):
            threading.Thread(target=_work, args=(function, waiting, done), name=f"mapped-{number}", daemon=True).start()
        failed: dict[int, BaseException] = {}
        try:
            while count:
                answer = done.get()
                if answer is None:  # a thread has ended
                    count -= 1
                elif answer[2] is not None:
                    failed[answer[0]] = answer[2]
                else:
                    results[answer[0]] = answer[1]
                    advance(1)
        finally:
            waiting.clear()
    if failed:
        raise failed[min(failed)]
    return results


def _work(function: Callable[[Any], Any], waiting: list[tuple[int, Any]], done: queue.SimpleQueue[Any]) -> None:
    try:
        while True:
            index, item = waiting.pop()
            try:
                done.put((index, function(item), None))
            except BaseException as error:
                waiting.clear()
                done.put((index, None, error))
    except IndexError:  # nothing is left
        done.put(None)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
