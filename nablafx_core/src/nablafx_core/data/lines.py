"""Fit delays over time robustly: one line, or consecutive levels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from nablafx_core.data.delay import Array

_PIECE = 4096  # lines compared at a time, which bounds the memory
_FINEST = 0.02  # samples; limit of the accuracy of a delay


class Line(NamedTuple):
    """Line through delays over time.

    Args:
        slope: samples of delay per sample of time.
        start: delay at time 0 in samples.
        error: standard error of the slope; infinite if it was not estimated.
        share: share of the total weight that lies on the line, 0 to 1.
    """

    slope: float
    start: float
    error: float
    share: float

    def at(self, times: Array) -> Array:
        """Return the delays on the line at given times."""
        return np.asarray(self.start + self.slope * times)


def common_line(
    times: Array,
    lags: Sequence[Array],
    heights: Sequence[Array],
    steepest: float,
    near: float,
    within: tuple[float, float] = (-np.inf, np.inf),
) -> Line:
    """Find the line that passes near one candidate of as many windows as possible (RANSAC over all pairs).

    It maximises the sum over the windows of the largest height (1 - distance / near) of a candidate. Lines through two
    candidates, and level lines through one, are tried.

    Args:
        times: times of the windows in samples, all different.
        lags: candidate lags of each window in samples.
        heights: weight of each candidate, in the shapes of `lags`.
        steepest: largest slope in either direction.
        near: distance from the line in samples at which a candidate no longer counts.
        within: smallest and largest delay at time 0; ignored if no line has one.

    Returns:
        The line, without an estimate of its error.
    """
    owner = np.repeat(np.arange(len(times)), [len(each) for each in lags])
    time, lag, height = times[owner], np.concatenate(lags), np.concatenate(heights)
    i, j = np.triu_indices(len(lag), 1)
    i, j = i[owner[i] != owner[j]], j[owner[i] != owner[j]]
    slope = (lag[j] - lag[i]) / (time[j] - time[i])
    usable = np.abs(slope) <= steepest
    slope = np.concatenate([slope[usable], np.zeros(len(lag))])
    start = np.concatenate([lag[i[usable]] - slope[: usable.sum()] * time[i[usable]], lag])
    allowed = (start >= within[0]) & (start <= within[1])
    if allowed.any():
        slope, start = slope[allowed], start[allowed]
    begins = np.flatnonzero(np.diff(owner, prepend=-1))
    best, score = 0, -1.0
    for at in range(0, len(slope), _PIECE):
        piece = slice(at, at + _PIECE)
        misses = np.abs(lag - slope[piece, None] * time - start[piece, None])
        counts = np.maximum.reduceat(height * np.maximum(0, 1 - misses / near), begins, axis=1).sum(axis=1)
        if counts.max() > score:
            best, score = at + int(np.argmax(counts)), float(counts.max())
    total = np.maximum.reduceat(height, begins).sum()
    return Line(float(slope[best]), float(start[best]), np.inf, float(score / (total + np.finfo(float).tiny)))


def fitted_line(times: Array, delays: Array, weights: Array, close: float) -> Line:
    """Fit a line by the best of all pairs of delays, then by least squares with Tukey's weights.

    Args:
        times: times in samples, all different, at least two.
        delays: delay at each time, in samples.
        weights: weight of each delay.
        close: distance from the line in samples from which on a delay no longer counts.
    """
    i, j = np.triu_indices(len(times), 1)
    slopes = (delays[j] - delays[i]) / (times[j] - times[i])
    starts = delays[i] - slopes * times[i]
    misses = np.abs(delays - slopes[:, None] * times - starts[:, None])
    best = int(np.argmax((np.maximum(0, 1 - misses / close) * weights).sum(axis=1)))
    slope, start = float(slopes[best]), float(starts[best])
    for _ in range(4):
        used = weights * np.maximum(0, 1 - ((delays - start - slope * times) / close) ** 2) ** 2
        middle, level = np.average(times, weights=used), np.average(delays, weights=used)
        spread = float((used * (times - middle) ** 2).sum())
        if spread <= 0:
            break
        slope = float((used * (times - middle) * (delays - level)).sum() / spread)
        start = float(level - slope * middle)
    left = delays - start - slope * times
    free = max(used.sum() ** 2 / (used**2).sum() - 2, 1)
    scatter = (used * left**2).sum() / used.sum() + _FINEST**2
    error = float(np.sqrt(scatter / free / max(spread / used.sum(), 1e-30)))
    return Line(slope, start, error, float(weights[np.abs(left) <= close].sum() / weights.sum()))


def is_bent(times: Array, delays: Array, weights: Array, line: Line, close: float) -> bool:
    """True if the delay swings slowly and does not drift: a cubic explains more delays and departs from the line.

    It is false if the line drifts by less than `close` samples, or fewer than six delays are near it.
    """
    extent = float(times[-1] - times[0])
    drift = abs(line.slope) * extent
    near = np.abs(delays - line.at(times)) <= max(3 * close, 0.6 * drift)
    if near.sum() < 6 or drift < close:
        return False
    curve = np.polyval(np.polyfit(times[near] / extent, delays[near], 3, w=np.sqrt(weights[near])), times / extent)
    explained = weights[near & (np.abs(delays - curve) <= close)].sum() / weights.sum()
    leaves = np.abs(curve - line.at(times))[near].max()
    return bool(leaves > 0.1 * drift + 1 and explained > line.share + 0.05)


def levels(delays: Array, weights: Array, close: float, least: float, most: int = 6) -> list[int] | None:
    """Return the number of the level on which each delay lies, counted in the order of time; -1 for no level.

    Args:
        delays: delays in samples, in the order of time.
        weights: weight of each delay.
        close: largest distance of a delay from its level, in samples.
        least: smallest distance between neighbouring levels, in samples.
        most: largest number of levels.

    Returns:
        The numbers, from 0; None unless there are two to `most` consecutive levels, each with at least two delays
        (three, if there are at least eight delays in all), and neighbours are at least `least` apart.
    """
    number, few = np.full(len(delays), -1), 2 if len(delays) < 8 else 3
    refused = np.zeros(len(delays), dtype=bool)
    for level in range(2 * most):
        free = (number < 0) & ~refused
        counts = [(weights * free * (np.abs(delays - delay) <= close)).sum() for delay in delays]
        members = free & (np.abs(delays - delays[int(np.argmax(counts))]) <= close)
        if members.sum() < few:
            break
        tried = np.where(members, level, number)
        used = [int(one) for one in tried if one >= 0]
        if sum(one != other for one, other in pairwise(used)) == len(set(used)) - 1:
            number = tried
        else:
            refused |= members
    order = list(dict.fromkeys(int(one) for one in number if one >= 0))
    if not 2 <= len(order) <= most:
        return None
    heights = [float(np.average(delays[number == one], weights=weights[number == one])) for one in order]
    if min(abs(one - other) for one, other in pairwise(heights)) < least:
        return None
    return [order.index(one) if one >= 0 else -1 for one in number]
