"""Whether what is being built is given its weights afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_FOLLOW: ContextVar[bool] = ContextVar("weights_follow", default=False)


@contextmanager
def weights_follow() -> Iterator[None]:
    """Within, models are built for weights that a file brings next, as those of a bundle do."""
    token = _FOLLOW.set(True)
    try:
        yield
    finally:
        _FOLLOW.reset(token)


def are_weights_to_follow() -> bool:
    """Whether a component that begins with weights from a file need not read them: that file may be elsewhere."""
    return _FOLLOW.get()
