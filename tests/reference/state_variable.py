"""The state-variable filter by solving its implicit equations, and its analogue prototype."""

from __future__ import annotations

import math

import numpy as np


def state_variable(audio, g, k, mix, state=(0.0, 0.0)):
    """Filter one signal (time,) with g and k (time,) and mix (3, time), sample by sample; also return the state."""
    (s, r), out = state, []
    for x, gt, kt, weights in zip(audio, g, k, mix.T, strict=True):
        # low - g band = r;  band - g high = s;  high + k band + low = x
        matrix = np.array([[1, -gt, 0], [0, 1, -gt], [1, kt, 1]])
        low, band, high = np.linalg.solve(matrix, np.array([r, s, x]))
        s, r = 2 * band - s, 2 * low - r
        out.append(weights @ (low, band, high))
    return np.array(out), np.array([s, r])


def responses(frequency_hz, cutoff_hz, q, sample_rate):
    """Return the complex responses of low, band and high of the bilinearly transformed analogue filter."""
    s = 1j * math.tan(math.pi * frequency_hz / sample_rate) / math.tan(math.pi * cutoff_hz / sample_rate)
    return np.array([1, s, s * s]) / (s * s + s / q + 1)
