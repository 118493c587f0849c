"""Call one function for many items, in threads on every core."""

from __future__ import annotations

import ctypes
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from nablafx_core.progress import progress

_WAKE_SECONDS = 0.5  # a Ctrl-C takes effect after at most so long
_PATIENCE_SECONDS = 10.0  # waiting time for a thread inside one long call

T = TypeVar("T")
R = TypeVar("R")


def mapped(function: Callable[[T], R], items: Iterable[T], what: str, threads: int | None = None) -> list[R]:
    """Call a function for each item in threads, with progress on stderr if it takes more than a second.

    For functions that release Python's lock most of the time, such as reading files and NumPy's FFT. At a Ctrl-C or an
    exception, no further item is started. At a Ctrl-C, running calls are stopped, too; those inside one long call of
    compiled code are abandoned after ten seconds. With one item or one thread, the calls are made in this thread.

    Args:
        function: function that is called in several threads at a time.
        items: one argument per call.
        what: text before the progress, such as ``"Examining 3,000 recordings"``.
        threads: largest number of threads; if None, the number of cores that this process may use.

    Returns:
        The results in the order of the items.

    Raises:
        BaseException: any exception that the function raised; if there are several, that of the first of these items.
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
        workers = [threading.Thread(target=_work, args=(function, waiting, done), daemon=True) for _ in range(count)]
        failed: dict[int, BaseException] = {}
        try:
            for worker in workers:
                worker.start()
            while count:
                try:
                    answer = done.get(timeout=_WAKE_SECONDS)  # a signal just before it is handled after it
                except queue.Empty:
                    continue
                if answer is None:  # a thread has ended
                    count -= 1
                elif answer[2] is not None:
                    failed[answer[0]] = answer[2]
                else:
                    results[answer[0]] = answer[1]
                    advance(1)
        except BaseException:
            waiting.clear()
            _stop(workers)
            raise
    if failed:
        raise failed[min(failed)]
    return results


class _Stopped(BaseException):
    """Raised in a thread from outside, when its result is no longer needed."""


def _stop(workers: list[threading.Thread]) -> None:
    """Raise `_Stopped` in threads, so that they clean up, and wait at most `_PATIENCE_SECONDS` for all of them.

    A thread that is killed at exit makes the program crash.
    """
    for worker in workers:
        if worker.ident is not None:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(worker.ident), ctypes.py_object(_Stopped))
    deadline = time.monotonic() + _PATIENCE_SECONDS
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))


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
    except _Stopped:
        pass


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
