"""The Wright omega function on the CPU."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nablafx_core.kernels.compiled import compiled

#: Outside these inputs, exp(z) (below) and z - log z (above) are the result to the last bit of float64.
LOWEST, HIGHEST = -40.0, 1e10

#: Between these inputs the iteration starts from the series of w about z = 1; outside, from the same two limits.
SERIES_FROM, SERIES_TO = -1.5, 4.0


def forward(z: Tensor) -> Tensor:
    """Return the solution w > 0 of w + log w = z for each element, computed in float64, in the shape and dtype of z.

    Args:
        z: of any shape, float32 or float64. NaN and infinity give themselves, and -infinity gives 0.
    """
    z = z.contiguous()
    output = torch.empty_like(z)
    _forward(z.view(-1).numpy(), output.view(-1).numpy())
    return output


@compiled
def _forward(values: Any, output: Any) -> None:
    for i in range(values.shape[0]):
        z = np.float64(values[i])
        if z < LOWEST:
            output[i] = math.exp(z)
            continue
        if not z < HIGHEST:  # also NaN and infinity
            output[i] = z - math.log(z) if z < math.inf else z
            continue
        if z < SERIES_FROM:
            w = math.exp(z)
        elif z > SERIES_TO:
            w = z - math.log(z)
        else:
            u = z - 1.0
            w = 1.0 + u * (0.5 + u * (1.0 / 16.0 - u / 192.0))
        for _ in range(2):
            rest = z - w - math.log(w)
            twice = 2.0 * (1.0 + w) * (1.0 + w + 2.0 / 3.0 * rest)
            w *= 1.0 + rest / (1.0 + w) * (twice - rest) / (twice - 2.0 * rest)
        output[i] = w
