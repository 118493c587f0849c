"""How much a recording of an effect lags its input, in fractions of a sample."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_FRAME = 1024
_FINE = 16


class Delay(NamedTuple):
    """What `find_delay` found.

    Args:
        samples: positive where wet lags dry.
        confidence: 0 to 1; how well one delay (and one minimum-phase filter) explains the phase of what the two
            signals have in common. Unrelated signals stay below 0.3.
        inverted: whether wet is upside down.
    """

    samples: float
    confidence: float
    inverted: bool


def find_delay(dry: npt.ArrayLike, wet: npt.ArrayLike, max_delay: int) -> Delay:
    """Measure the delay of an effect that may filter and distort.

    1. A cross-correlation, whitened by |S_xy|^-0.8 (between plain and GCC-PHAT), gives the delay to some samples.
    2. The effect's filters turn the phase as well and would move the peak by tens of samples. So the magnitude of
       S_xy / S_xx, averaged over short frames, is turned into its minimum phase (Hilbert transform of its log) and
       that phase is taken out. The peak of what is left, weighted by the coherence, is the delay.
    3. Where that is not conclusive (an octave fuzz leaves nothing of the fundamental), the same is done with the
       rectified signals, which know no polarity.

    Args:
        dry: (time,).
        wet: (time,), of about the same length.
        max_delay: samples, the most that is looked for in either direction.

    Returns:
        The delay; its confidence is 0 for silence and for less than 16 frames of 1024 samples.
    """
    x, y = (np.asarray(signal, dtype=np.float64) for signal in (dry, wet))
    if min(len(x), len(y)) < 16 * _FRAME:
        return Delay(0.0, 0.0, False)
    x, y = x - x.mean(), y - y.mean()
    if not x.any() or not y.any():
        return Delay(0.0, 0.0, False)
    plain = _measured(x, y, max_delay)
    if plain.confidence >= 0.6:
        return plain
    rectified = _measured(np.abs(x) - np.abs(x).mean(), np.abs(y) - np.abs(y).mean(), max_delay)
    return plain if plain.confidence >= rectified.confidence else rectified._replace(inverted=False)


def _measured(x: Array, y: Array, max_delay: int) -> Delay:
    lag = _coarse(x, y, max_delay)
    if min(len(x), len(y)) - abs(lag) < 16 * _FRAME:
        return Delay(0.0, 0.0, False)
    return _fine(x, y, lag)


def _coarse(x: Array, y: Array, max_delay: int) -> int:
    size = 1 << (len(x) + len(y) - 1).bit_length()
    cross = np.conj(np.fft.rfft(x, size)) * np.fft.rfft(y, size)
    magnitude = np.abs(cross)
    weight = (magnitude + 1e-3 * np.sqrt(np.mean(magnitude**2))) ** -0.8
    correlation = np.abs(np.fft.irfft(cross * weight, size))
    lags = np.arange(-min(max_delay, len(x) - 1), min(max_delay, len(y) - 1) + 1)
    return int(lags[np.argmax(correlation[lags])])


def _fine(x: Array, y: Array, lag: int) -> Delay:
    x, y = x[max(-lag, 0) :], y[max(lag, 0) :]
    length = min(len(x), len(y))
    spectra = [np.fft.rfft(np.hanning(_FRAME) * _frames(signal[:length])) for signal in (x, y)]
    s_xx, s_yy = ((np.abs(spectrum) ** 2).mean(axis=0) for spectrum in spectra)
    s_xy = (np.conj(spectra[0]) * spectra[1]).mean(axis=0)
    coherence = np.abs(s_xy) ** 2 / (s_xx * s_yy + np.finfo(float).tiny)
    known = s_xx > 1e-10 * s_xx.max()  # above the band of a signal that was resampled there is nothing to measure
    log_gain = np.log(np.abs(s_xy[known]) / s_xx[known] + 1e-12)
    log_gain = np.interp(np.arange(len(known)), np.flatnonzero(known), log_gain)
    phase = np.angle(s_xy) - _minimum_phase(_smooth(log_gain, coherence + 1e-3))
    weight = known * np.minimum(coherence / (1.0001 - coherence), 20)
    weight[:2] = 0  # what is left of a direct current says nothing about time
    peak = np.fft.irfft(weight * np.exp(1j * phase), _FRAME * _FINE)
    peak /= weight.sum() * 2 / (_FRAME * _FINE) + np.finfo(float).tiny
    lags = np.arange(-_FRAME // 2 * _FINE, _FRAME // 2 * _FINE)
    best = int(lags[np.argmax(np.abs(peak[lags]))])
    return Delay(lag + best / _FINE, min(1.0, float(abs(peak[best]))), bool(peak[best] < 0))


def _frames(signal: Array) -> Array:
    return np.lib.stride_tricks.sliding_window_view(signal, _FRAME)[:: _FRAME // 2]


def _smooth(log_gain: Array, weight: Array) -> Array:
    """A weighted mean over about half an octave around each frequency."""
    bins = np.arange(len(log_gain))
    low = np.maximum((bins / 1.15).astype(int) - 2, 0)
    high = np.minimum((bins * 1.15).astype(int) + 3, len(bins))
    sums, weights = (np.concatenate([[0.0], np.cumsum(values)]) for values in (weight * log_gain, weight))
    return np.asarray((sums[high] - sums[low]) / (weights[high] - weights[low]))


def _minimum_phase(log_gain: Array) -> Array:
    cepstrum = np.fft.irfft(log_gain, _FRAME)
    cepstrum[1 : _FRAME // 2] *= 2
    cepstrum[_FRAME // 2 + 1 :] = 0
    return np.fft.rfft(cepstrum).imag
