"""Set the number of threads that torch uses for one operation on the CPU."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_lock = threading.Lock()
_counts: list[list[int]] = []
_outer_count = 0


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """Set the number of torch threads to `count` inside the ``with`` and restore it after it; None changes nothing.

    Torch has one such number per process. If several Python threads set it at the same time, the last one that
    entered and is still inside decides. After the last one leaves, the number is as it was before the first.
    """
    global _outer_count
    if count is None:
        yield
        return
    own = [count]
    with _lock:
        if not _counts:
            _outer_count = torch.get_num_threads()
        _counts.append(own)
        torch.set_num_threads(count)
    try:
        yield
    finally:
        with _lock:
            _counts[:] = [other for other in _counts if other is not own]
            torch.set_num_threads(_counts[-1][0] if _counts else _outer_count)
