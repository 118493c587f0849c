"""The first-order filter as its difference equation."""

from __future__ import annotations

import numpy as np


def one_pole(audio, pole, before=0.0):
    """One signal (time,), poles (time,): sample by sample, and the last output."""
    out = []
    for x, a in zip(audio, pole, strict=True):
        before = (1 - a) * x + a * before
        out.append(before)
    return np.array(out), before
