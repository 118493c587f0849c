"""Batch normalisation that a computation beside the training must not disturb."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def running_statistics(module: nn.Module) -> Iterator[None]:
    """Inside, batch norms use their running statistics and leave them as they are, even in training mode.

    For what is computed beside the batch, such as the state at the start of a file.
    """
    training = [m for m in module.modules() if isinstance(m, nn.BatchNorm1d) and m.training]
    for norm in training:
        norm.training = False
    try:
        yield
    finally:
        for norm in training:
            norm.training = True
