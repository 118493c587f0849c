"""A finite impulse response as a sum."""

from __future__ import annotations

import numpy as np


def fir(audio, taps, past):
    """Return y[t] = sum of taps[k] x[t - k] of one signal (time,) after n - 1 samples, and its last n - 1 samples."""
    signal = np.concatenate([past, audio])
    start = len(taps) - 1
    out = [sum(h * signal[start + t - k] for k, h in enumerate(taps)) for t in range(len(audio))]
    return np.array(out), signal[len(audio) :]
