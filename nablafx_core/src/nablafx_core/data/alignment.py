"""Measure the alignment of a wet recording with its dry one over the whole length: delay, drift and jumps.

1. Up to 24 windows, each at a loud place of its part of the dry signal, are correlated with the wet signal. Each
   window yields a few candidate lags.
2. RANSAC over all pairs of lags finds the line of lag over time on which most windows lie. Two clocks cause a line, and
   the line also places windows whose own correlation is too weak.
3. Each window is measured again at the line's lag, against the average of all windows. The effect's phase is in both
   and cancels, which leaves an error of a fraction of a sample even through heavy distortion. A robust line through
   these delays is the drift; consecutive levels are jumps.
4. A large jump is also searched for in the sums of the correlations before and after each place, unless the delay
   drifts by more than `SWING` samples. If it is found, and none of the jumps of step 3 has its size, it replaces them.

If the confidence is low, steps 1 to 3 are repeated with the rectified signals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np

from nablafx_core.data.cuts import SWING, find_cut
from nablafx_core.data.delay import (
    SHORTEST,
    Array,
    Cross,
    Delay,
    Framed,
    averaged,
    causal_delay,
    correlation,
    first_arrival,
    rectify,
    relative_delay,
)
from nablafx_core.data.lines import Line, common_line, fitted_line, is_bent, levels
from nablafx_core.interfaces import AudioSource

STEEPEST = 1e-3
"""Largest drift that is attributed to two clocks, in samples per sample (1,000 ppm)."""

_WINDOWS = 24  # enough to tell a line from jumps, at under a second for two minutes of audio
_WIDTH = 1 << 15  # samples of a window, 0.7 s at 48 kHz
_GOLDEN = 0.618  # spreads the windows within their parts
_QUIET = 1e-4  # energy, relative to the loudest window, below which windows are left out
_CANDIDATES = 6  # highest peaks of a correlation, since periodic music has several
_APART = 24  # smallest distance between two candidates, in samples
_NEAR = 16.0  # samples by which a candidate may miss its line
_CLOSE = 3.0  # samples by which a delay may miss its line or its level
_CHANCE = 0.3  # confidence of windows that have nothing in common
_BELIEVED = 0.5  # confidence of the median window below which no statement about time is made
_ENOUGH = 0.7  # weighted share of the windows that must lie on a line or on levels
_SHORT = 8192  # accuracy of the position of a jump, in samples
_DOUBT = 0.7  # factor on the weight of a window beside the line, to compare it with a window on the line
_MORE, _MOST = 0.1, 0.75  # share of the windows that levels must explain in addition to a line, and in total
_SMALL = 8.0  # samples; a smaller jump may come from an effect whose delay varies
_LEVELS = 5  # different delays that one file may have
_NEARBY = 4096  # samples around the line in which more candidate lags are considered
_LIKELIER = 0.8  # share of the best delay's confidence with which a delay near the expected one is preferred
_AGREED = 0.8  # confidence of a weak delay on which the windows agree
_BIAS = 6.0  # samples; through distortion, delays follow the brightness of the music, which may fade over the recording
_REPEATED = 24_000.0  # samples after which a lag is half as likely to be that of a jump
_ALIKE = 64.0  # samples by which the sum of correlations may miss a jump; a loudspeaker has several peaks
_LEAST = 4  # smallest number of windows for a statement about time


@dataclass(frozen=True)
class Jump:
    """Place where samples are missing or repeated.

    Args:
        between: samples of the dry signal between which the jump lies.
        before, after: delays of wet before and after the jump, in samples, positive if wet lags. If the delay also
            drifts, each is extrapolated to about the middle of the recording.
    """

    between: tuple[int, int]
    before: float
    after: float

    @property
    def samples(self) -> float:
        """Change of the delay in samples, `after` - `before`."""
        return self.after - self.before


@dataclass(frozen=True)
class Alignment:
    """Measured alignment of a wet recording.

    Args:
        delay: measured `Delay` of wet, with its confidence, which is 0 if nothing could be measured. If the delays of
            the windows lie on a line, it is the line's value in the middle of the recording; if they lie on levels
            with jumps between them, the median over the windows; otherwise the most common delay.
        slope: samples by which the delay grows per sample, jumps excluded; 0 if the windows do not lie on a line.
        uncertainty: standard error, in samples, of the drift from the first to the last window, or a limit that grows
            as the confidence falls, whichever is larger. It is 0 if the windows lie on levels, or on no line.
        jumps: changes of the delay from one moment to the next, in the order of time.
        arrival: delay in samples at which the effect's response begins, at most `delay.samples`; see
            `nablafx_core.data.delay.first_arrival`.
        certain: true if `delay` is known to a fraction of a sample, because the response is one sharp peak.
        followed: true if the delays of at least four windows lie on a line or on levels, and not by chance.
    """

    delay: Delay
    slope: float = 0.0
    uncertainty: float = 0.0
    jumps: tuple[Jump, ...] = ()
    arrival: float = 0.0
    certain: bool = False
    followed: bool = False


@dataclass(frozen=True)
class _Window:
    """Piece of the dry signal, the part of the wet signal that it may match, and its candidate lags."""

    at: int
    dry: Array
    wet: Array
    first: int  # lag at which `wet` begins
    low: int  # lag of power[0]
    power: Array  # power of the whitened correlation by lag, with mean 1
    lags: Array

    @property
    def middle(self) -> float:
        return self.at + len(self.dry) / 2

    @cached_property
    def framed(self) -> Framed:
        return Framed(self.dry)

    def heights_at(self, lags: Array) -> Array:
        return np.asarray(np.sqrt(self.power[lags.astype(int) - self.low]))

    def lags_around(self, lag: float) -> Array:
        """Return the candidate lags and the highest peaks within `_NEARBY` samples of a given lag."""
        start = min(max(round(lag) - _NEARBY - self.low, 0), len(self.power) - 1)
        stop = max(round(lag) + _NEARBY - self.low, start + 1)
        return np.unique(np.concatenate([self.lags, self.low + start + _peaks(self.power[start:stop])]))

    def cross(self, lag: float, slope: float = 0.0) -> Cross | None:
        return averaged(self.framed, self.wet, lag - self.first, slope)


def align(
    dry: AudioSource, wet: AudioSource, energies: Array, block: int, max_delay: int, around: int = 0
) -> Alignment:
    """Measure the alignment of wet with dry.

    Args:
        dry, wet: mono signals of the same sample rate.
        energies: sum of squares of each whole block of the dry signal, (blocks,).
        block: number of samples in a block.
        max_delay: largest distance of the delay from `around` in either direction, in samples.
        around: delay in the middle of the searched range, in samples; positive if wet lags.

    Returns:
        The alignment. Its delay has the confidence 0 if the signals share fewer than `SHORTEST` samples.
    """
    length = min(dry.num_samples, wet.num_samples)
    reach = max_delay + int(STEEPEST * length / 2)
    within = around - max_delay - _NEAR, around + max_delay + _NEAR
    pieces = [_piece(dry, wet, *place, reach, around) for place in _places(energies, block, length, around)]
    plain = _aligned([_window(*piece) for piece in pieces], length / 2, within)
    if plain.followed or plain.delay.confidence >= 0.6:
        jumps = tuple(_located(dry, wet, jump) for jump in plain.jumps)
        return _searched(dry, wet, replace(plain, jumps=jumps), length)
    rectified = _aligned([_window(at, rectify(x), rectify(y), first) for at, x, y, first in pieces], length / 2, within)
    if plain.delay.confidence >= rectified.delay.confidence and not rectified.followed:
        return _searched(dry, wet, plain, length)
    return _searched(dry, wet, replace(rectified, delay=rectified.delay._replace(inverted=False)), length, True)


def _searched(dry: AudioSource, wet: AudioSource, found: Alignment, length: int, rectified: bool = False) -> Alignment:
    """Search for a large jump, unless the drift exceeds `SWING` samples or no delay was found.

    The jump replaces those that were found, which pitch may cause, unless one of them has the same size.
    """
    if abs(found.slope) * length > SWING or not found.delay.confidence:
        return found
    lag = round(found.delay.samples)
    cut = find_cut(dry, wet, lag, np.asarray)
    if cut is None and rectified:
        cut = find_cut(dry, wet, lag, rectify)
    if cut is None or any(abs(jump.samples - Jump(*cut).samples) <= _ALIKE for jump in found.jumps):
        return found
    return replace(found, jumps=(Jump(*cut),))


def _places(energies: Array, block: int, length: int, around: int) -> list[tuple[int, int]]:
    """Return start and width of the windows in samples: one in each part of the recording, at its loudest place.

    In a long part, only a quarter of it is considered. Windows that are nearly silent are left out.
    """
    low, high = max(-around, 0), min(length, length - around)
    if high - low < SHORTEST:
        return []
    width = _WIDTH if high - low >= _LEAST * _WIDTH else SHORTEST
    parts = max(1, min(_WINDOWS, (high - low) // width))
    sums = np.concatenate([[0.0], np.cumsum(energies)])
    found = []
    for part in range(parts):
        start, stop = (low + (high - low) * (part + step) // parts for step in (0, 1))
        if stop - start > 6 * width:  # vary the place: in looped music, every part would have the same loudest place
            span = (stop - start) // 4
            start += int((stop - start - span) * (_GOLDEN * part % 1))
            stop = start + span
        starts = np.arange(start, max(stop - width, start) + 1, block)
        powers = sums[np.minimum((starts + width) // block, len(energies))] - sums[starts // block]
        best = int(np.argmax(powers))
        found.append((int(starts[best]), float(powers[best])))
    loudest = max(power for _, power in found)
    return [(at, width) for at, power in found if power >= _QUIET * loudest]


def _piece(
    dry: AudioSource, wet: AudioSource, at: int, width: int, reach: int, around: int
) -> tuple[int, Array, Array, int]:
    start, stop = max(at + around - reach, 0), min(at + around + width + reach, wet.num_samples)
    x, y = (source.numpy().astype(np.float64) for source in (dry.read(at, at + width), wet.read(start, stop)))
    return at, x - x.mean(), y - y.mean(), start - at


def _window(at: int, x: Array, y: Array, first: int) -> _Window:
    lags = np.arange(-(len(x) // 2), len(y) - len(x) // 2)  # at least half of the window overlaps
    power = correlation(x, y)[lags] ** 2
    power /= power.mean() + np.finfo(float).tiny
    low = first + int(lags[0])
    return _Window(at, x, y, first, low, power, low + _peaks(power))


def _peaks(power: Array) -> Array:
    """Return the positions of the `_CANDIDATES` highest values that are more than `_APART` samples apart."""
    left, chosen = power.copy(), []
    for _ in range(min(_CANDIDATES, len(left))):
        chosen.append(int(np.argmax(left)))
        left[max(chosen[-1] - _APART, 0) : chosen[-1] + _APART + 1] = 0
    return np.array(chosen, dtype=float)


@dataclass(frozen=True)
class _Course:
    """Delay of each window over time, and the line or levels that it follows."""

    lags: Array
    slope: float = 0.0
    uncertainty: float = 0.0
    jumps: tuple[Jump, ...] = ()
    confidence: float = 0.0


def _aligned(windows: Sequence[_Window], middle: float, within: tuple[float, float]) -> Alignment:
    """Align the windows.

    Repetitive music offers several delays. If the best one is far from the middle of the range, one near the middle is
    preferred if its confidence is at least `_LIKELIER` times as high.
    """
    if not windows:
        return Alignment(Delay(0.0, 0.0, False))
    expected = round(sum(within) / 2)
    found, explained = _explained(windows, middle, within)
    if abs(found.delay.samples - expected) > _NEARBY:
        near, also = _explained(windows, middle, (expected - _NEARBY, expected + _NEARBY))
        if also >= _LIKELIER * explained:
            return near
    return found


def _explained(windows: Sequence[_Window], middle: float, within: tuple[float, float]) -> tuple[Alignment, float]:
    """Return the alignment with a delay within a range, and the confidence that one delay (or line) explains it."""
    course = _course(windows, within) if len(windows) >= _LEAST else None
    course = course or _Course(_usual_lags(windows, within))
    lags = course.lags
    for _ in range(2):
        total = _sum([window.cross(lag, course.slope) for window, lag in zip(windows, lags, strict=True)])
        if total is None:
            return Alignment(Delay(0.0, 0.0, False)), 0.0
        left, begins = causal_delay(total), first_arrival(total)
        usual = np.median(lags) if course.jumps else lags[0] + course.slope * (middle - windows[0].middle)
        if abs(left.samples) <= _NEAR:
            break
        lags = lags + round(left.samples)
    delay = Delay(float(usual) + left.samples, max(left.confidence, min(course.confidence, _AGREED)), left.inverted)
    found = Alignment(
        delay,
        course.slope,
        course.uncertainty,
        course.jumps,
        float(usual) + begins.samples,
        begins.certain,
        course.confidence > 0,
    )
    return found, left.confidence


def _course(windows: Sequence[_Window], within: tuple[float, float]) -> _Course | None:
    """Return the line or the levels on which the windows lie; None if they lie on neither, or confidence is low."""
    times = np.array([window.middle for window in windows])
    middle, extent = times.mean(), times[-1] - times[0]
    times = times - middle
    near = within[1] - within[0] <= 2 * _NEARBY
    lags = [window.lags_around(sum(within) / 2) if near else window.lags for window in windows]
    heights = [window.heights_at(each) for window, each in zip(windows, lags, strict=True)]
    line = common_line(times, lags, heights, STEEPEST, _NEAR, within)
    parallels = _parallels(windows, times, line)
    for _ in range(2):
        at = line.at(times)
        on_line = [np.abs(each - lag).min() <= _NEAR for each, lag in zip(lags, at, strict=True)]
        there = [window.cross(lag, line.slope) for window, lag in zip(windows, at, strict=True)]
        usual = [cross if use else None for cross, use in zip(there, on_line, strict=True)]
        tried = [_delays(windows, at + offset, line.slope, usual) for offset in parallels]
        best = np.argmax([counts * (_DOUBT if i else 1) for i, (_, counts) in enumerate(tried)], axis=0)
        delays, weights = (np.choose(best, [each[part] for each in tried]) for part in range(2))
        line = fitted_line(times, delays, weights, _CLOSE)
    confidence = float(np.sqrt(np.median(weights))) + _CHANCE
    if confidence < _BELIEVED:
        return None
    course = None
    if abs(line.slope) <= STEEPEST and line.share >= _ENOUGH and not is_bent(times, delays, weights, line, _CLOSE):
        error = max(float(line.error * extent), _BIAS * (1 - confidence))
        course = _Course(line.at(times), line.slope, error, (), confidence)
    share = max(line.share + _MORE if course else 0.0, _MOST)
    for slope, least in ((0.0, _SMALL), (line.slope, 4 * _SMALL)):
        number = levels(delays - slope * times, weights, _CLOSE, least)
        if number is not None and weights[np.array(number) >= 0].sum() >= share * weights.sum():
            stepped = _stepped(windows, delays - slope * times, weights, slope, number)
            return replace(stepped, confidence=confidence)
    return course


def _parallels(windows: Sequence[_Window], times: Array, line: Line) -> list[float]:
    """Return the offsets of the line (0) and of its parallels on which several windows have a candidate, in samples."""
    offsets, left = [0.0], list(range(len(windows)))
    for _ in range(_LEVELS):
        at = line.start + offsets[-1]
        left = [i for i in left if np.abs(windows[i].lags - at - line.slope * times[i]).min() > _NEAR]
        if len(left) < 2:
            break
        lags = [windows[i].lags_around(line.start + line.slope * times[i]) for i in left]
        flat = [each - line.slope * times[i] for i, each in zip(left, lags, strict=True)]
        # Music repeats, and recorders lose few samples, so the nearer of two levels is preferred.
        heights = [
            windows[i].heights_at(each) / (1 + np.abs(there - line.start) / _REPEATED)
            for i, each, there in zip(left, lags, flat, strict=True)
        ]
        level = common_line(times[left], flat, heights, 0.0, _NEAR)
        if sum(np.abs(there - level.start).min() <= _NEAR for there in flat) < 2:
            break
        offsets.append(level.start - line.start)
    return offsets


def _delays(
    windows: Sequence[_Window], lags: Array, slope: float, usual: Sequence[Cross | None]
) -> tuple[Array, Array]:
    """Return delay and weight of each window near its lag, measured against the `usual` spectra of the others.

    A window that cannot be measured keeps its lag, with a weight of 1e-6.
    """
    delays, weights = lags.copy(), np.full(len(lags), 1e-6)
    for index, window in enumerate(windows):
        cross, others = window.cross(lags[index], slope), _sum([*usual[:index], *usual[index + 1 :]])
        if cross is None or others is None:
            continue
        found = relative_delay(cross, others)
        delays[index] += found.samples
        weights[index] = max(found.confidence - _CHANCE, 1e-3) ** 2
    return delays, weights


def _stepped(windows: Sequence[_Window], delays: Array, weights: Array, slope: float, number: list[int]) -> _Course:
    members = [[i for i, one in enumerate(number) if one == level] for level in range(max(number) + 1)]
    heights = [float(np.average(delays[each], weights=weights[each])) for each in members]
    times = np.array([window.middle for window in windows])
    nearest = [
        min(range(len(members)), key=lambda level: min(abs(i - j) for j in members[level])) for i in range(len(times))
    ]
    lags = np.array([heights[level] for level in nearest]) + slope * (times - times.mean())
    jumps = tuple(
        Jump((windows[before[-1]].at, windows[after[0]].at + len(windows[0].dry)), heights[i], heights[i + 1])
        for i, (before, after) in enumerate(pairwise(members))
    )
    return _Course(lags, slope, 0.0, jumps)


def _located(dry: AudioSource, wet: AudioSource, jump: Jump) -> Jump:
    """Narrow down the position of a jump to `_SHORT` samples: test which of its lags explains a short piece better."""
    low, high = jump.between
    while high - low > _SHORT:
        start = (low + high - _SHORT) // 2
        x = Framed(dry.read(start, start + _SHORT).numpy().astype(np.float64))
        shares = []
        for lag in (jump.before, jump.after):
            at = start + round(lag)
            inside = at >= 0 and at + _SHORT <= wet.num_samples
            cross = averaged(x, wet.read(at, at + _SHORT).numpy().astype(np.float64), 0) if inside else None
            shares.append(
                0.0 if cross is None else float((cross.coherence * cross.yy).sum() / (cross.yy.sum() + 1e-30))
            )
        low, high = (start + _SHORT // 2, high) if shares[0] >= shares[1] else (low, start + _SHORT // 2)
    return replace(jump, between=(low, high))


def _usual_lags(windows: Sequence[_Window], within: tuple[float, float]) -> Array:
    """Return one lag for all windows, at which their correlations are high together, for a delay that varies."""
    low = min(window.low for window in windows)
    power = np.zeros(max(window.low + len(window.power) for window in windows) - low)
    for window in windows:
        power[window.low - low :][: len(window.power)] += window.power
    smooth = np.convolve(power, np.hanning(2 * SWING + 1), mode="same")
    first = min(max(int(within[0]) - low, 0), len(smooth) - 1)
    best = first + int(np.argmax(smooth[first : max(int(within[1]) - low, first) + 1]))
    return np.full(len(windows), float(low + best))


def _sum(crosses: Sequence[Cross | None]) -> Cross | None:
    there = [cross for cross in crosses if cross is not None]
    if not there:
        return None
    xx, yy, xy = (np.sum(parts, axis=0) for parts in zip(*(cross[:3] for cross in there), strict=True))
    return Cross(xx, yy, xy, sum(cross.frames for cross in there))
