"""The Wright omega function on the CPU."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nablafx_core.kernels.compiled import compiled


def wright_omega(z: Tensor) -> Tensor:
    """w of w + log w = z, elementwise; see `nablafx_dsp.functional.waveshaping.wright_omega`.

    Args:
        z: of any shape, float32 or float64; computed in float64.
    """
    z = z.contiguous()
    output = torch.empty_like(z)
    _each(z.view(-1).numpy(), output.view(-1).numpy())
    return output


@compiled
def _each(values: Any, output: Any) -> None:
    for i in range(values.shape[0]):
        z = np.float64(values[i])
        if z < -40.0:
            output[i] = math.exp(z)  # equal in all bits
            continue
        if not z < 1e10:  # also NaN and infinity
            output[i] = z - math.log(z) if z < math.inf else z
            continue
        if z < -1.5:
            w = math.exp(z)
        elif z > 4.0:
            w = z - math.log(z)
        else:
            u = z - 1.0
            w = 1.0 + u * (0.5 + u * (1.0 / 16.0 - u / 192.0))
        for _ in range(2):
            rest = z - w - math.log(w)
            twice = 2.0 * (1.0 + w) * (1.0 + w + 2.0 / 3.0 * rest)
            w *= 1.0 + rest / (1.0 + w) * (twice - rest) / (twice - 2.0 * rest)
        output[i] = w
