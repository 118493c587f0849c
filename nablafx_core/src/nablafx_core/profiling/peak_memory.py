"""Measure the peak memory of a computation."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import torch
from torch.autograd.profiler import profile


def peak_memory(call: Callable[[], object], device: torch.device) -> int | None:
    """Measure the peak memory of a call, beyond the memory in use before it.

    On a CPU it is computed from the allocations that torch's profiler reports, because the size of the process does not
    shrink when memory is freed. Allocations by other libraries are not included.

    Args:
        call: function to measure; called once.
        device: device of its tensors.

    Returns:
        Number of bytes; None if the device does not report it.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        torch.cuda.synchronize(device)
        return int(torch.cuda.max_memory_allocated(device)) - before
    if device.type != "cpu":
        return None
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # otherwise the profiler logs its start and end to stderr
    with profile(profile_memory=True) as profiler:
        call()
    results: Any = profiler.kineto_results
    changes = [event for event in results.events() if event.name() == "[memory]"]
    changes.sort(key=lambda event: event.start_ns())
    return max(accumulate((int(event.nbytes()) for event in changes), initial=0))
