"""Linear interpolation between blocks, sample by sample."""

from __future__ import annotations

import numpy as np


def line(before, values, time, block_size, skip):
    """Return the value at each of `time` samples, the last of which is `skip` samples before the last block's end.

    Args:
        before: value at the end of the block before each block, (blocks,).
        values: value of each block, (blocks,).
    """
    out = []
    for t in range(len(values) * block_size - skip - time, len(values) * block_size - skip):
        block, i = divmod(t, block_size)
        out.append(before[block] + (values[block] - before[block]) * (i + 1) / block_size)
    return np.array(out)
