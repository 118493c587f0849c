"""Find the place where many samples are missing or repeated, even if the correlation of each window is weak.

Every window of the recording is correlated with the wet signal. Before a cut, the windows agree on one lag, and after
it on another. So for each place, the correlations before and after it are summed by lag: at a cut, one sum is high at
the usual lag and the other is high elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nablafx_core.data.delay import Array, whitened
from nablafx_core.interfaces import AudioSource

SWING = 240
"""Samples by which an effect with a moving delay may differ from its mean; smaller cuts are not searched for."""

_WIDTH = 1 << 14  # samples of a window, twice the largest cut
_REACH = 1 << 13  # samples; the largest cut
_MOST = 512  # largest number of windows, evenly spaced over a long recording
_FEWEST = 4  # smallest number of windows on each side of a cut
_NEAR = 24  # samples by which a lag may differ from the usual one
_HALF = 8000.0  # samples after which a lag is half as likely: pitch repeats, and recorders lose few samples
_QUIET = 1e-4  # energy, relative to the loudest window, below which windows are left out
_GAIN = 8.0  # ratio of a sum to its noise in one window; below 1 in pairs without a cut, above 12 in pairs with one
_SIGNIFICANT = 5.0  # ratio of a sum to its noise
_OTHER = 0.4  # share of its sum that a lag may have on the other side of the cut


class Cut(NamedTuple):
    """Place where samples are missing or repeated.

    Args:
        between: samples of the dry signal between which the cut lies.
        before, after: delays of the wet signal before and after the cut, in whole samples; positive if wet lags.
    """

    between: tuple[int, int]
    before: float
    after: float


def find_cut(dry: AudioSource, wet: AudioSource, lag: int, prepared: Callable[[Array], Array]) -> Cut | None:
    """Find the clearest place where the delay changes by more than `SWING` samples.

    Args:
        dry, wet: mono signals.
        lag: delay of wet on one side of the place, in samples, as measured; the delays on both sides are searched for
            within 8192 samples of it.
        prepared: function that is applied to each piece of both signals first, (time,) to (time,).

    Returns:
        The cut; None if there is none, or fewer than eight windows of 16,384 samples are loud enough.
    """
    windows = list(_windows(dry, wet, lag, prepared))
    loudest = max((energy for _, energy, _ in windows), default=0.0)
    windows = [window for window in windows if window[1] > _QUIET * loudest]
    if len(windows) < 2 * _FEWEST:
        return None
    starts = [at for at, _, _ in windows]
    powers = np.array([each for _, _, each in windows])
    lags = np.arange(-_REACH, _REACH + 1)
    total = powers.sum(axis=0, dtype=np.float64)
    usual = int(np.argmax(np.abs(total) / (1 + np.abs(lags) / _HALF)))
    likely = (np.abs(lags - lags[usual]) > SWING) / (1 + np.abs(lags - lags[usual]) / _HALF)
    best, gain, first = None, _GAIN, powers[: _FEWEST - 1].sum(axis=0, dtype=np.float64)
    for place in range(_FEWEST, len(windows) - _FEWEST + 1):
        first += powers[place - 1]
        counts = place, len(windows) - place
        for side in (0, 1):  # the side that keeps the usual lag
            kept, moved = (first, total - first)[:: 1 - 2 * side]
            other = int(np.argmax(np.abs(moved) * likely))
            found = _gain(kept, moved, usual, other, counts[:: 1 - 2 * side], float(likely[other]))
            if found > gain:
                pair = float(lag + lags[usual]), float(lag + lags[other])
                best = Cut((starts[place - 1], starts[place] + _WIDTH), *pair[:: 1 - 2 * side])
                gain = found
    return best


def _windows(
    dry: AudioSource, wet: AudioSource, lag: int, prepared: Callable[[Array], Array]
) -> Iterator[tuple[int, float, npt.NDArray[np.float32]]]:
    """Yield start in `dry`, energy and correlation of each window.

    The correlation covers the lags within `_REACH` samples of `lag`, and has the mean power 1.
    """
    length = min(dry.num_samples, wet.num_samples)
    taper = np.hanning(_WIDTH)  # the edges of both pieces would correlate with each other
    for at in range(0, length - _WIDTH + 1, max(_WIDTH, length // _MOST)):
        first = at + lag - _REACH
        start, stop = max(first, 0), min(first + _WIDTH + 2 * _REACH, wet.num_samples)
        if stop - start < _WIDTH:
            continue
        x, y = (each.numpy().astype(np.float64) for each in (dry.read(at, at + _WIDTH), wet.read(start, stop)))
        x, y = taper * prepared(x - x.mean()), prepared(y - y.mean())
        around = whitened(x, np.pad(y, (start - first, first + _WIDTH + 2 * _REACH - stop)))[: 2 * _REACH + 1]
        power = np.mean(around**2)
        if power > 0:
            yield at, float(x @ x), (around / np.sqrt(power)).astype(np.float32)


def _gain(kept: Array, moved: Array, usual: int, other: int, counts: tuple[int, ...], likely: float) -> float:
    """Return how much better the other lag explains the moved side; 0 if the sides do not differ clearly."""
    at_usual, at_other = ([_height(each, lag) for each in (kept, moved)] for lag in (usual, other))
    if min(at_usual[0] / counts[0] ** 0.5, at_other[1] / counts[1] ** 0.5) < _SIGNIFICANT:
        return 0.0
    if at_usual[1] > _OTHER * at_other[1] or at_other[0] > _OTHER * at_usual[0]:
        return 0.0
    return float(at_other[1] * likely - at_usual[1])


def _height(total: Array, lag: int) -> float:
    return float(np.abs(total[max(lag - _NEAR, 0) : lag + _NEAR + 1]).max())
