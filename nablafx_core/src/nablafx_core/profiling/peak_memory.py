"""How much memory a computation needs at its peak."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import torch
from torch.autograd.profiler import profile


def peak_memory(call: Callable[[], object], device: torch.device) -> int | None:
    """The most bytes that a call holds at one moment, beyond what was held before it.

    On a CPU it is the running sum of what torch's profiler sees of its allocator (the process's own size says nothing:
    freed memory stays with it). What other libraries allocate for themselves is not seen.

    Args:
        call: what is measured; run once.
        device: where its tensors are.

    Returns:
        Bytes; None for devices that do not tell.
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
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or it tells stderr that it begins and ends
    with profile(profile_memory=True) as profiler:
        call()
    results: Any = profiler.kineto_results
    changes = [event for event in results.events() if event.name() == "[memory]"]
    changes.sort(key=lambda event: event.start_ns())
    return max(accumulate((int(event.nbytes()) for event in changes), initial=0))
