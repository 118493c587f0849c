"""Wait for a condition, for as long as the busiest machine may need."""

from __future__ import annotations

import time

#: Seconds after which a test fails. Only a broken program takes so long.
PATIENCE = 600.0


def until(condition, alive=lambda: True):
    """Wait until a condition holds.

    Args:
        condition: function that must become true.
        alive: function that must stay true until then, such as that a process runs.
    """
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert alive(), "it cannot happen any more"
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.01)
