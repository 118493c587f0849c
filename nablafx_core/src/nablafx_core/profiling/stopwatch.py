"""Measure the duration of a computation."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch


def median_seconds(call: Callable[[], object], budget: float, device: torch.device) -> float:
    """Return the median time of a call in seconds, after one call to warm up.

    Args:
        call: function to measure, repeated until the budget is spent, at least three times.
        budget: time to spend, in seconds.
        device: device to synchronise after each call.
    """
    call()
    _wait(device)
    times: list[float] = []
    while len(times) < 3 or sum(times) < budget:
        began = time.perf_counter()
        call()
        _wait(device)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
