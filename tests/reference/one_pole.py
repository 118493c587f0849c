"""The difference equation of a first-order filter."""

from __future__ import annotations

import numpy as np


def one_pole(audio, pole, before=0.0):
    """Filter one signal (time,) by poles (time,), sample by sample; also return the last output."""
    out = []
    for x, a in zip(audio, pole, strict=True):
        before = (1 - a) * x + a * before
        out.append(before)
    return np.array(out), before
