"""Waiting for what must happen, for as long as the busiest machine may need."""

from __future__ import annotations

import time

#: Seconds after which a test gives up. Nothing takes so long; it is there so that a broken program ends a test.
PATIENCE = 600.0


def until(condition, alive=lambda: True):
    """Wait until a condition holds.

    Args:
        condition: what must happen.
        alive: what must hold until then, such as that a process runs.
    """
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert alive(), "it cannot happen any more"
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.01)
