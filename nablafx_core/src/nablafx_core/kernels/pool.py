"""Process items on as many threads as torch may use."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import torch


def for_each(count: int, work: Callable[[int], None]) -> None:
    """Call work(0) … work(count - 1), and wait for all calls.

    They run on at most `torch.get_num_threads` threads; on the caller's thread if that is one.

    Args:
        count: number of items.
        work: function of the number of an item; it must release the interpreter's lock to run in parallel.
    """
    threads = min(count, torch.get_num_threads())
    if threads <= 1:
        for item in range(count):
            work(item)
    else:
        list(_pool(threads).map(work, range(count)))


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="nablafx-kernel")
