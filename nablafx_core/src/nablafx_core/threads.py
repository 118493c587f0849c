"""How many threads torch computes with."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_lock = threading.Lock()
_counts: list[list[int]] = []
_outside = 0


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """As many torch threads as `count` inside the ``with``, as many as before after it; None changes nothing.

    Torch has one such number for the whole process. Where several threads of Python set it at the same time, the last
    one that came and is still inside decides, and after the last one that leaves it is as it was before the first.
    """
    global _outside
    if count is None:
        yield
        return
    mine = [count]
    with _lock:
        if not _counts:
            _outside = torch.get_num_threads()
        _counts.append(mine)
        torch.set_num_threads(count)
    try:
        yield
    finally:
        with _lock:
            _counts[:] = [other for other in _counts if other is not mine]
            torch.set_num_threads(_counts[-1][0] if _counts else _outside)
