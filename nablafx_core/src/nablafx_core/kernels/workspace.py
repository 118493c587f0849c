"""Reuse the memory of temporary values from one call to the next."""

from __future__ import annotations

import weakref
from collections import deque

import torch
from torch import Tensor

_FREE: deque[Tensor] = deque(maxlen=4)  # the buffers of a layer and of its neighbours; more would only hold memory


class Workspace:
    """Memory for float32 values on the CPU, which is reused when the workspace is no longer referenced.

    The operating system provides large pieces of memory page by page, which takes longer than the arithmetic of an LSTM
    that fills them. Store only values in a workspace that no caller ever sees.

    Args:
        numel: number of values.

    Attributes:
        values: the memory, (numel,), not initialised. Keep the workspace, not only this tensor, while it is used.
    """

    def __init__(self, numel: int) -> None:
        buffer = _taken(numel)
        self.values = buffer[:numel]
        weakref.finalize(self, _FREE.append, buffer).atexit = False


def _taken(numel: int) -> Tensor:
    """Return a free buffer of at least this size and at most twice as large, or a new one.

    Other threads, and finalizers in this one, may take or return buffers at the same time. Each step is a single atomic
    operation on the deque, so no lock is needed.
    """
    for _ in range(len(_FREE)):
        try:
            buffer = _FREE.popleft()
        except IndexError:
            break
        if numel <= buffer.numel() <= 2 * numel:
            return buffer
        _FREE.append(buffer)
    return torch.empty(numel)
