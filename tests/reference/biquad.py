"""The difference equation of a second-order filter, and the cookbook's responses from analogue prototypes."""

from __future__ import annotations

import math

import numpy as np


def biquad(audio, coefficients, state=(0.0, 0.0)):
    """Filter one signal (time,) by coefficients (5, time): transposed direct form II, sample by sample."""
    (z1, z2), out = state, []
    for x, (b0, b1, b2, a1, a2) in zip(audio, coefficients.T, strict=True):
        y = b0 * x + z1
        z1, z2 = b1 * x - a1 * y + z2, b2 * x - a2 * y
        out.append(y)
    return np.array(out), np.array([z1, z2])


def cascade(audio, coefficients, state):
    """Filter one signal (time,) by sections with coefficients (sections, 5, time) and states (sections, 2)."""
    finals = []
    for section, memories in zip(coefficients, state, strict=True):
        audio, final = biquad(audio, section, memories)
        finals.append(final)
    return audio, np.array(finals)


def prototype_response(filter_type, frequency_hz, cutoff_hz, q, gain_db, sample_rate):
    """Return the complex response at a frequency: H(s) of the analogue prototype under the bilinear transform."""
    a, root = 10 ** (gain_db / 40), 10 ** (gain_db / 80)
    s = 1j * math.tan(math.pi * frequency_hz / sample_rate) / math.tan(math.pi * cutoff_hz / sample_rate)
    return {
        "lowpass": 1 / (s * s + s / q + 1),
        "highpass": s * s / (s * s + s / q + 1),
        "peaking": (s * s + s * a / q + 1) / (s * s + s / (a * q) + 1),
        "lowshelf": a * (s * s + root / q * s + a) / (a * s * s + root / q * s + 1),
        "highshelf": a * (a * s * s + root / q * s + 1) / (s * s + root / q * s + a),
    }[filter_type]
