"""The Hilbert transform as a finite impulse response."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

#: Attenuation in dB of the window's design; it keeps the magnitude within 0.25 % of 1 in the band.
RIPPLE_DB = 60.0


def half_length(lowest_hz: float, sample_rate: float) -> int:
    """Return the number of taps on each side of the middle of a Hilbert transformer: odd, at least (N - 1) / 2.

    Kaiser's formula gives N = (A - 7.95) / (2.285 dw) taps, where A is `RIPPLE_DB`. The magnitude passes through 0 at
    0 Hz, so that the transition, from -lowest_hz to lowest_hz, takes dw = 4 pi lowest_hz / sample_rate.

    Args:
        lowest_hz: lower end of the band in Hz, above 0; the upper end is sample_rate / 2 - lowest_hz.
        sample_rate: sample rate in Hz.
    """
    taps = (RIPPLE_DB - 7.95) / (2.285 * 4 * math.pi * lowest_hz / sample_rate)
    return 2 * math.ceil((taps - 1) / 4) + 1


def hilbert_taps(size: int) -> NDArray[np.float64]:
    """Return the impulse response of a Hilbert transformer, delayed by `size` samples.

    h[size + k] = 2 w[k] / (pi k) for odd k, 0 for even k, |k| <= size, with Kaiser's window w. A sine of frequency f
    is delayed by 90 degrees (and by `size` samples); the band is symmetrical about a quarter of the sample rate.
    Kaiser (1974), "Nonrecursive digital filter design using the I0-sinh window function"; Oppenheim and Schafer,
    "Discrete-Time Signal Processing", chapter 12.

    Args:
        size: number of taps on each side, odd.

    Returns:
        (2 size + 1,), antisymmetric.
    """
    k = np.arange(1, size + 1, 2)
    # Kaiser's formula for attenuations above 50 dB.
    window = np.kaiser(2 * size + 1, 0.1102 * (RIPPLE_DB - 8.7))[size + 1 :: 2]
    taps = np.zeros(2 * size + 1)
    taps[size + k] = 2 * window / (np.pi * k)
    return taps - taps[::-1]
