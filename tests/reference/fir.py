"""A finite response as its sum."""

from __future__ import annotations

import numpy as np


def fir(audio, taps, past):
    """One signal (time,), taps (n,), the n - 1 samples before: y[t] = sum of taps[k] x[t - k], and the last samples."""
    signal = np.concatenate([past, audio])
    start = len(taps) - 1
    out = [sum(h * signal[start + t - k] for k, h in enumerate(taps)) for t in range(len(audio))]
    return np.array(out), signal[len(audio) :]
