"""Maxima of blocks of samples."""

from __future__ import annotations

from typing import Any

import numpy as np

from nablafx_core.kernels.compiled import compiled, inlined
from nablafx_core.kernels.simd import REGISTER_LANES, full, larger, load, store


@compiled
def largest(values: Any, rows: Any, count: Any, size: Any, lead: Any, maxima: Any, places: Any) -> None:
    """Compute the maxima of blocks of float32 and their places; NaN counts as larger than any number.

    The first block is shorter by `lead`, and the last one may be shorter; each must contain a sample.

    Args:
        values: samples of all channels, flat.
        rows: index in `values` at which each channel begins.
        count: number of samples in a channel.
        size: number of samples in a block.
        lead: number of samples of the first block that come before the values.
        maxima: output, the maxima (channels, blocks), flat.
        places: output, the index of the first sample with each maximum, counted from the start of its channel, in the
            layout of `maxima`.
    """
    blocks = maxima.shape[0] // rows.shape[0]
    lanes = np.empty(REGISTER_LANES, np.float32)
    for row in range(rows.shape[0]):
        for block in range(blocks):
            start, stop = max(block * size - lead, 0), min((block + 1) * size - lead, count)
            begin = rows[row]
            best = values[begin + start]
            whole = start + (stop - start) // REGISTER_LANES * REGISTER_LANES
            found = full(best, REGISTER_LANES)
            for t in range(start, whole, REGISTER_LANES):
                found = larger(found, load(values, begin + t, REGISTER_LANES))
            store(lanes, 0, found)
            for lane in range(REGISTER_LANES):
                best = _larger(best, lanes[lane])
            for t in range(whole, stop):
                best = _larger(best, values[begin + t])
            place = start
            while not (values[begin + place] == best or values[begin + place] != values[begin + place]):
                place += 1
            maxima[row * blocks + block], places[row * blocks + block] = best, place


@inlined
def _larger(x: Any, y: Any) -> Any:
    return y if y > x or y != y else x
