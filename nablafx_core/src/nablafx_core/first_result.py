"""Value that is computed once for all threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class first_result(Generic[T]):  # noqa: N801 - a decorator
    """Make a function always return its first result, the same object in every thread.

    Threads that call it first at the same time may each run the function; one result is kept and the others are
    dropped. No lock is held while it runs, because it may import: an importing thread may wait for another importing
    thread, which may wait for this value.

    Args:
        function: function without arguments.
    """

    def __init__(self, function: Callable[[], T]) -> None:
        self.__doc__ = function.__doc__
        self._function = function
        self._lock = threading.Lock()
        self._results: list[T] = []

    def __call__(self) -> T:
        """Return the first result; call the function if there is none yet. Its exceptions are raised, not kept."""
        results = self._results
        if not results:
            result = self._function()
            with self._lock:
                if not results:
                    results.append(result)
        return results[0]

    def cache_clear(self) -> None:
        """Forget the result, so that the next call calls the function again."""
        self._results = []
