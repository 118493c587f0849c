"""Memory that one call needs and the next can use again."""

from __future__ import annotations

import weakref
from collections import deque

import torch
from torch import Tensor

_FREE: deque[Tensor] = deque(maxlen=4)  # the buffers of a layer and of its neighbours; more would only hold memory


class Workspace:
    """Room for float32 values, given back when nothing refers to it any more.

    The system hands out large pieces of memory page by page, which takes longer than the arithmetic of an LSTM that
    fills them. Only what no caller ever sees belongs into one.

    Args:
        numel: values that it must hold; they begin as anything.
    """

    def __init__(self, numel: int) -> None:
        buffer = _taken(numel)
        self.values = buffer[:numel]
        weakref.finalize(self, _FREE.append, buffer).atexit = False


def _taken(numel: int) -> Tensor:
    """A free buffer of this size or up to twice as large, or a new one.

    Any thread may take or give back meanwhile, and so may this one while memory is collected: each step is one
    operation on the deque, which no lock needs to hold together.
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
