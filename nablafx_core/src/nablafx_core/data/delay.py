"""Measure the delay of a recording of an effect, in fractions of a sample."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Spectrum = npt.NDArray[np.complex128]

FRAME = 1024
"""Number of samples of the frames whose spectra are averaged."""
SHORTEST = 16 * FRAME
"""Smallest number of samples for which `find_delay` measures a delay."""
_HOP = FRAME // 2
_FINE = 16  # steps per sample to which a response is interpolated
_EDGE = 0.35  # share of the peak at which a response begins; above the ripples that a limited band causes before it
_BEFORE = ((0.85, 6), (0.7, 12), (0.5, 24), (0.0, 48))  # confidence; most samples from beginning to peak
_BLURRED = 0.8  # confidence below which the beginning is accurate to one sample only
_CERTAIN, _WIDE = 0.97, 0.19  # confidence, and bandwidth in cycles per sample, of a response that is one sharp peak
_SHARP = 1.0  # samples in which such a response rises


class Delay(NamedTuple):
    """Measured delay of a wet signal.

    Args:
        samples: delay in samples; positive if wet lags dry.
        confidence: degree to which one delay (and one minimum-phase filter) explains the phase of what the signals have
            in common, or how well the pieces of a recording agree on it, 0 to 1; below 0.3 for unrelated signals, 0 if
            no delay could be measured.
        inverted: true if wet has the opposite polarity of dry; false also if the rectified signals had to be compared,
            which have no polarity.
    """

    samples: float
    confidence: float
    inverted: bool


class Arrival(NamedTuple):
    """Beginning of the response of an effect, at or before its peak.

    Args:
        samples: delay in samples at which the response begins; an inexact measurement is moved earlier, so that the
            delay is not too large.
        certain: true if the response is one sharp peak, so that a delay near a whole number can be rounded to it.
    """

    samples: float
    certain: bool


class Cross(NamedTuple):
    """Spectra of a dry and a wet signal, averaged over frames that were paired at one lag, each (FRAME // 2 + 1,).

    Args:
        xx, yy: power of the dry and of the wet signal.
        xy: cross-spectrum, conj(X) Y.
        frames: equivalent number of frames of equal energy; with a single frame any two signals are coherent.
    """

    xx: Array
    yy: Array
    xy: Spectrum
    frames: float

    @property
    def coherence(self) -> Array:
        """Coherence, |S_xy|^2 / (S_xx S_yy), 0 to 1."""
        return np.asarray(np.abs(self.xy) ** 2 / (self.xx * self.yy + np.finfo(float).tiny))

    @property
    def coherence_beyond_chance(self) -> Array:
        """Coherence beyond 1 / frames, which unrelated signals have: (C - 1 / frames) / (1 - 1 / frames), 0 to 1."""
        chance = 1 / max(self.frames, 1.0)
        return np.asarray(np.maximum(self.coherence - chance, 0) / max(1 - chance, 1e-9))

    def weight(self, coherence: Array, floor: float) -> Array:
        """Return the weight of each bin's phase in a delay: coherence / (1 - coherence), at most 20.

        A bin in which dry's power is at most `floor` times the highest has weight 0, as have the lowest two bins, which
        contain direct current.

        Args:
            coherence: coherence of each bin, (FRAME // 2 + 1,).
            floor: smallest power relative to the highest.
        """
        weight = (self.xx > floor * self.xx.max()) * np.minimum(coherence / (1.0001 - coherence), 20)
        weight[:2] = 0
        return np.asarray(weight)


def find_delay(dry: npt.ArrayLike, wet: npt.ArrayLike, max_delay: int, slope: float = 0.0) -> Delay:
    """Measure the delay of an effect that may filter and distort.

    1. A cross-correlation, whitened by |S_xy|^-0.8 (between plain and GCC-PHAT), gives the delay to tens of samples.
    2. The effect's filters turn the phase as well and would move the peak by tens of samples. Therefore the minimum
       phase (Hilbert transform of the log) of the magnitude of S_xy / S_xx, averaged over short frames, is subtracted
       from the phase. The peak of the remaining response, weighted by the coherence, is the delay.
    3. If the confidence is below 0.6 (an octave fuzz removes the fundamental), the same is done with the rectified
       signals, which have no polarity; the result with the higher confidence counts.

    Args:
        dry: dry signal, (time,).
        wet: wet signal of about the same length, (time,).
        max_delay: largest delay to search for in either direction, in samples.
        slope: samples by which the delay grows per sample, because of two clocks.

    Returns:
        The delay in the middle of the dry signal. Its confidence is 0 if a signal is constant, or if a signal, or
        their overlap at this delay, has fewer than `SHORTEST` samples.
    """
    x, y = (np.asarray(signal, dtype=np.float64) for signal in (dry, wet))
    if min(len(x), len(y)) < SHORTEST:
        return Delay(0.0, 0.0, False)
    x, y = x - x.mean(), y - y.mean()
    if not x.any() or not y.any():
        return Delay(0.0, 0.0, False)
    plain = _measured(x, y, max_delay, slope)
    if plain.confidence >= 0.6:
        return plain
    rectified = _measured(rectify(x), rectify(y), max_delay, slope)
    return plain if plain.confidence >= rectified.confidence else rectified._replace(inverted=False)


def rectify(signal: Array) -> Array:
    """Return |signal| minus the mean of |signal|."""
    magnitude = np.abs(signal)
    return np.asarray(magnitude - magnitude.mean())


def correlation(x: Array, y: Array) -> Array:
    """Return the magnitude of `whitened`."""
    return np.abs(whitened(x, y))


def whitened(x: Array, y: Array) -> Array:
    """Return the cross-correlation of two signals, whitened by |X Y|^-0.8 and zero-padded.

    Entry k is for `y` that lags `x` by k samples, entry -k for `y` that is k samples ahead.
    """
    from scipy.fft import next_fast_len  # type: ignore[import-untyped]

    size = next_fast_len(len(x) + len(y) - 1, real=True)
    cross = np.conj(np.fft.rfft(x, size)) * np.fft.rfft(y, size)
    magnitude = np.abs(cross)
    weight = (magnitude + 1e-3 * np.sqrt(np.mean(magnitude**2)) + np.finfo(float).tiny) ** -0.8
    return np.asarray(np.fft.irfft(cross * weight, size))


class Framed:
    """Signal with the spectra of its frames, because it is compared at many lags.

    Args:
        signal: (time,), at least `FRAME` samples.
    """

    def __init__(self, signal: Array) -> None:
        self.length = len(signal)
        self.starts = np.arange(0, self.length - FRAME + 1, _HOP)
        self.spectra = _spectra(signal, self.starts)
        self.powers = self.spectra.real**2 + self.spectra.imag**2


def _spectra(signal: Array, starts: npt.NDArray[np.int64]) -> Spectrum:
    """Return the spectra of the windowed frames of a signal, (frames, FRAME // 2 + 1)."""
    frames = np.lib.stride_tricks.sliding_window_view(signal, FRAME)[starts]
    return np.asarray(np.fft.rfft(np.hanning(FRAME) * frames))


def averaged(x: Framed, y: Array, lag: float, slope: float = 0.0) -> Cross | None:
    """Average the spectra of frames of `x` and of the frames of `y` at a lag.

    Frames have `FRAME` samples, begin every FRAME // 2 samples, and are multiplied by a Hann window. A frame's lag is
    rounded to samples; the remainder is compensated in the phase of its spectrum.

    Args:
        x: signal.
        y: signal, (time,).
        lag: samples by which y lags x in the middle of x.
        slope: samples by which the lag grows per sample.

    Returns:
        The averages; None if fewer than 8 frames lie within both signals.
    """
    places = x.starts + lag + slope * (x.starts + _HOP - x.length / 2)
    whole = np.round(places).astype(int)
    inside = (whole >= 0) & (whole + FRAME <= len(y))
    if inside.sum() < 8:
        return None
    whole, rest = whole[inside], (places - whole)[inside]
    x_powers, y_spectra = x.powers[inside], _spectra(y, whole)
    y_powers = y_spectra.real**2 + y_spectra.imag**2
    turn = 2j * np.pi * np.fft.rfftfreq(FRAME)
    if slope:
        xy = (np.conj(x.spectra[inside]) * y_spectra * np.exp(turn * rest[:, None])).mean(axis=0)
    else:
        xy = (np.conj(x.spectra[inside]) * y_spectra).mean(axis=0) * np.exp(turn * rest[0])
    energies = x_powers.sum(axis=1)
    frames = float(energies.sum() ** 2 / ((energies**2).sum() + np.finfo(float).tiny))
    return Cross(x_powers.mean(axis=0), y_powers.mean(axis=0), xy, frames)


def causal_delay(cross: Cross) -> Delay:
    """Measure the delay from which the effect's minimum phase is removed, within ±FRAME / 2 samples.

    It counts from the lag at which the frames of `cross` were paired. Its confidence is 0 if dry is silent.
    """
    if not cross.xx.any():
        return Delay(0.0, 0.0, False)
    peak = _response(cross)
    best = _highest(peak)
    return Delay(best / _FINE, min(1.0, float(abs(peak[best]))), bool(peak[best] < 0))


def first_arrival(cross: Cross) -> Arrival:
    """Find the beginning of the response without the effect's minimum phase.

    A loudspeaker, an all-pass filter or a room responds at once and is loudest later, and distortion blurs the
    measurement. The arrival is therefore the point at which the response first exceeds 0.35 of its peak, within a
    limited time before the peak. The lower the confidence, the longer this time; at a confidence below 0.8, the arrival
    is also moved one sample earlier. It counts from the lag at which the frames of `cross` were paired.
    """
    if not cross.xx.any():
        return Arrival(0.0, False)
    response = np.abs(_response(cross))
    best = _highest(response)
    confidence = float(response[best])
    before = next(samples for least, samples in _BEFORE if confidence >= least)
    lags = np.arange(best - before * _FINE, best + 1)
    begins = float(lags[np.argmax(response[lags] >= _EDGE * confidence)]) / _FINE
    weight = cross.weight(cross.coherence, 1e-10)
    width = np.sqrt((weight * np.fft.rfftfreq(FRAME) ** 2).sum() / (weight.sum() + np.finfo(float).tiny))
    certain = confidence >= _CERTAIN and width >= _WIDE and best / _FINE - begins <= _SHARP
    return Arrival(begins - (0.0 if confidence >= _BLURRED else 1.0), bool(certain))


def relative_delay(cross: Cross, usual: Cross) -> Delay:
    """Measure the delay of one piece of a recording minus that of the rest; the effect's phase is in both and cancels.

    Each delay counts from the lag at which the frames were paired.

    Args:
        cross: spectra of the piece.
        usual: spectra of the rest.
    """
    weights = [each.weight(each.coherence_beyond_chance, 1e-8) for each in (cross, usual)]
    weight = np.minimum(*weights)
    peak = _peak(weight, np.angle(cross.xy) - np.angle(usual.xy))
    best = _highest(peak)
    return Delay(best / _FINE, min(1.0, float(abs(peak[best]))), bool(peak[best] < 0))


def _measured(x: Array, y: Array, max_delay: int, slope: float) -> Delay:
    lags = np.arange(-min(max_delay, len(x) - 1), min(max_delay, len(y) - 1) + 1)
    lag = int(lags[np.argmax(correlation(x, y)[lags])])
    if min(len(x), len(y)) - abs(lag) < SHORTEST:
        return Delay(0.0, 0.0, False)
    cross = averaged(Framed(x), y, lag, slope)
    if cross is None:
        return Delay(0.0, 0.0, False)
    found = causal_delay(cross)
    return found._replace(samples=lag + found.samples)


def _response(cross: Cross) -> Array:
    """Return the impulse response of the effect without its minimum phase, in steps of 1/16 sample, peak at most 1."""
    known = cross.xx > 1e-10 * cross.xx.max()  # nothing can be measured above the band of a resampled signal
    log_gain = np.log(np.abs(cross.xy[known]) / cross.xx[known] + 1e-12)
    log_gain = np.interp(np.arange(len(known)), np.flatnonzero(known), log_gain)
    phase = np.angle(cross.xy) - _minimum_phase(_smooth(log_gain, cross.coherence + 1e-3))
    return _peak(cross.weight(cross.coherence, 1e-10), phase)


def _peak(weight: Array, phase: Array) -> Array:
    response = np.fft.irfft(weight * np.exp(1j * phase), FRAME * _FINE)
    return np.asarray(response / (weight.sum() * 2 / (FRAME * _FINE) + np.finfo(float).tiny))


def _highest(response: Array) -> int:
    lags = np.arange(-FRAME // 2 * _FINE, FRAME // 2 * _FINE)
    return int(lags[np.argmax(np.abs(response[lags]))])


def _smooth(log_gain: Array, weight: Array) -> Array:
    """Return the weighted mean over 15 % and 2 bins below and above each frequency."""
    bins = np.arange(len(log_gain))
    low = np.maximum((bins / 1.15).astype(int) - 2, 0)
    high = np.minimum((bins * 1.15).astype(int) + 3, len(bins))
    sums, weights = (np.concatenate([[0.0], np.cumsum(values)]) for values in (weight * log_gain, weight))
    return np.asarray((sums[high] - sums[low]) / (weights[high] - weights[low]))


def _minimum_phase(log_gain: Array) -> Array:
    cepstrum = np.fft.irfft(log_gain, FRAME)
    cepstrum[1 : FRAME // 2] *= 2
    cepstrum[FRAME // 2 + 1 :] = 0
    return np.fft.rfft(cepstrum).imag
