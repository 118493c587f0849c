"""Protect the running statistics of batch normalisation from computations that are not part of the training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def running_statistics(module: nn.Module) -> Iterator[None]:
    """Make batch norms use their running statistics without updating them during the ``with``, even in training mode.

    For computations outside the batch, such as the state at the start of a file.
    """
    training = [m for m in module.modules() if isinstance(m, nn.BatchNorm1d) and m.training]
    for norm in training:
        norm.training = False
    try:
        yield
    finally:
        for norm in training:
            norm.training = True
