"""Process items on as many threads as torch may use."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import torch


def for_each(count: int, work: Callable[[int], None]) -> None:
    """Call work(0) … work(count - 1), which must release the interpreter's lock, and wait for all calls."""
    threads = min(count, torch.get_num_threads())
    if threads <= 1:
        for item in range(count):
            work(item)
    else:
        list(_pool(threads).map(work, range(count)))


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="nablafx-kernel")
