"""Measure a pair of a dry and a wet signal before a model is trained on it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nablafx_core.data.alignment import Alignment, align
from nablafx_core.data.cache import file_key, remembered
from nablafx_core.data.delay import Array, Delay, find_delay
from nablafx_core.data.levels import BLOCK, Signal, Silence, measure_levels, silent_parts
from nablafx_core.interfaces import AudioSource

CONFIDENT = 0.85
"""Smallest confidence of a measured delay that may cause a pair to be rejected."""
REACH = 480
"""Samples by which the delay of an effect with a moving delay may differ from its mean, 10 ms at 48 kHz."""

_MEASURE = 7  # increment if a measurement changes, to invalidate cached ones
_SHORT = 1 << 16  # samples of the loudest passages, 1.4 s at 48 kHz
_LEAST = 20 * 1024  # smallest number of samples of a part that is measured separately
_FAR = 4  # number of lags beyond the range that are tried
_LIKELY = 0.7  # confidence above which a delay beyond the range is accepted
_ROUND = 0.1  # largest distance in samples between a certain delay and a whole number
_WIRE = 1e-6  # relative energy left after subtracting a scaled copy, -60 dB


@dataclass(frozen=True)
class Step:
    """Jump of the delay.

    Args:
        start, stop: samples of the dry signal between which the jump lies.
        samples: change of the delay in samples.
    """

    start: int
    stop: int
    samples: float


@dataclass(frozen=True)
class PairFacts:
    """Measurements of a pair of a dry and a wet signal.

    Args:
        dry, wet: levels of each signal.
        delay: delay of wet, positive if it lags dry; in the middle of the recording if it drifts, the median or most
            common one if it jumps or varies; see `nablafx_core.data.alignment.Alignment`.
        arrival: delay in samples at which the effect's response begins; at most `delay`, and moved earlier if the
            measurement is inexact.
        certain: true if `delay` is known to a fraction of a sample.
        drift: samples by which the delay grows linearly from the beginning to the end; 0 if it does not.
        uncertainty: standard error of the drift in samples, larger if the confidence is low; 0 if the delay jumps or
            follows no line.
        slope: drift per sample of time; 1e-6 is one part per million.
        steps: jumps of the delay.
        common: median over the quarters of the confidence that one delay (or one drift) explains them, 0 to 1; the
            confidence of `delay` if no quarter can be measured. It is above 0.7 for distortion, filters and
            modulation, 0.4 to 0.6 for a vibrato or a reverb without its dry part, mostly below 0.35 for unrelated
            music, and 0 if it cannot be measured.
        gain: factor g, if wet is g times dry, delayed by `delay` in whole samples, with an error below -60 dB; else
            None. It is negative if wet is inverted.
        dead: parts where wet is silent while dry plays.
        ghost: parts where wet plays though dry has been silent for two seconds.
    """

    dry: Signal
    wet: Signal
    delay: Delay
    arrival: float = 0.0
    certain: bool = False
    drift: float = 0.0
    uncertainty: float = 0.0
    slope: float = 0.0
    steps: tuple[Step, ...] = ()
    common: float = 0.0
    gain: float | None = None
    dead: Silence = field(default_factory=Silence)
    ghost: Silence = field(default_factory=Silence)


def whole_delay(facts: PairFacts) -> int:
    """Return the largest delay in whole samples that can be removed so that wet does not begin before its cause in dry.

    It is negative if wet is ahead. If the measured delay is certain and near a whole number, return that number;
    otherwise return the arrival, rounded down. A wet file that may begin together with its dry file, as a plug-in's
    output does, is not shifted (0).
    """
    nearest = round(facts.delay.samples)
    if facts.certain and abs(facts.delay.samples - nearest) <= _ROUND:
        return nearest
    if facts.arrival <= 0 <= facts.delay.samples + 0.5:
        return 0
    return math.floor(facts.arrival)


def examine(dry: AudioSource, wet: AudioSource, max_delay: int, sample_rate: int) -> PairFacts:
    """Measure levels, delay, gain and silent parts of a pair, reading it piece by piece.

    A delay larger than `max_delay` is found if the loudness of the two signals indicates it.

    Args:
        dry, wet: mono signals of about equal length.
        max_delay: largest delay of the first search, in samples.
        sample_rate: sample rate in Hz.
    """
    dry_levels, dry_energies = measure_levels(dry)
    wet_levels, wet_energies = measure_levels(wet)
    found = align(dry, wet, dry_energies, BLOCK, max_delay)
    if found.delay.confidence < CONFIDENT and not found.followed:
        far = [align(dry, wet, dry_energies, BLOCK, 4 * BLOCK, lag) for lag in _far(dry_energies, wet_energies)]
        best = max(far, key=lambda one: one.delay.confidence, default=found)
        if best.delay.confidence > max(found.delay.confidence + 0.1, _LIKELY) and abs(best.delay.samples) > max_delay:
            found = best
    length = min(dry.num_samples, wet.num_samples)
    lag = round(found.delay.samples)
    dead, ghost = silent_parts(dry_energies, wet_energies, lag, sample_rate)
    return PairFacts(
        dry_levels,
        wet_levels,
        found.delay,
        found.arrival,
        found.certain,
        found.slope * length,
        found.uncertainty,
        found.slope,
        tuple(Step(*jump.between, jump.samples) for jump in found.jumps),
        _common(dry, wet, dry_energies, found),
        _gain(dry, wet, dry_energies, found.delay),
        dead,
        ghost,
    )


def examine_files(
    dry_path: Path,
    wet_path: Path,
    dry: AudioSource,
    wet: AudioSource,
    max_delay: int,
    sample_rate: int,
    extra: object = "",
) -> PairFacts:
    """Return the result of `examine`, from the cache until a file or one of the last three arguments changes.

    Args:
        dry_path, wet_path: files from which the signals are read.
        dry, wet, max_delay, sample_rate: arguments of `examine`.
        extra: everything else that determines the signals, such as the channels and offsets that are read.
    """
    key = file_key(dry_path, wet_path, extra=(_MEASURE, max_delay, sample_rate, extra))
    return remembered("checked", key, PairFacts, lambda: examine(dry, wet, max_delay, sample_rate))


def _far(dry: Array, wet: Array) -> Iterator[int]:
    """Yield the few lags, in samples, at which the loudness of both signals most clearly rises together."""
    if min(len(dry), len(wet)) < 16:
        return
    rises = []
    for energies in (dry, wet):
        level = np.log(energies + 1e-5 * energies.max() + 1e-20)
        rise = np.maximum(np.diff(level), 0)
        rises.append(rise - rise.mean())
    size = 1 << (len(dry) + len(wet)).bit_length()
    both = np.fft.irfft(np.conj(np.fft.rfft(rises[0], size)) * np.fft.rfft(rises[1], size), size)
    lags = np.arange(-len(dry) // 2, len(wet) // 2)
    match = both[lags]
    for _ in range(_FAR):
        best = int(np.argmax(match))
        yield int(lags[best]) * BLOCK
        match[max(best - 3, 0) : best + 4] = -np.inf


def _loudest(energies: Array, start: int, stop: int, width: int) -> tuple[int, int]:
    """Return start and stop of the `width` samples with the most energy in a range."""
    sums = np.concatenate([[0.0], np.cumsum(energies)])
    starts = np.arange(start, max(stop - width, start) + 1, BLOCK)
    ends = np.minimum((starts + width) // BLOCK, len(energies))
    at = int(starts[np.argmax(sums[ends] - sums[np.minimum(starts // BLOCK, len(energies))])])
    return at, min(at + width, stop)


def _quarters(dry: AudioSource, wet: AudioSource, energies: Array, lag: int) -> Iterator[tuple[int, int]]:
    """Yield start and stop in dry of the loudest stretch of each quarter of the part that dry and wet share at a lag.

    A short part is divided into fewer than four.
    """
    start, length = max(-lag, 0), min(dry.num_samples, wet.num_samples - lag) - max(-lag, 0)
    parts = min(4, max(length, 0) // _LEAST)
    for part in range(parts):
        yield _loudest(energies, start + part * length // parts, start + (part + 1) * length // parts, _SHORT)


def _common(dry: AudioSource, wet: AudioSource, energies: Array, found: Alignment) -> float:
    """Measure `PairFacts.common`. A delay may explain a whole recording by chance, but not each quarter of it."""
    middle = min(dry.num_samples, wet.num_samples) / 2
    confidences = []
    for at, end in _quarters(dry, wet, energies, round(found.delay.samples)):
        jumped = [jump for jump in found.jumps if jump.between[1] <= at]
        level = jumped[-1].after if jumped else found.jumps[0].before if found.jumps else found.delay.samples
        lag = round(level + found.slope * ((at + end) / 2 - middle))
        start, stop = max(at, -lag), min(end, wet.num_samples - lag)
        if stop - start < _LEAST // 2:
            continue
        pieces = dry.read(start, stop).numpy(), wet.read(start + lag, stop + lag).numpy()
        confidences.append(find_delay(*pieces, REACH, found.slope).confidence)
    return statistics.median([one for one in confidences if one] or [found.delay.confidence])


def _gain(dry: AudioSource, wet: AudioSource, energies: Array, delay: Delay) -> float | None:
    """Return the factor of `PairFacts.gain` if it explains the loudest stretches of all quarters; else None."""
    lag = round(delay.samples)
    product = power = target = 0.0
    for at, end in _quarters(dry, wet, energies, lag):
        x, y = dry.read(at, end).double(), wet.read(at + lag, end + lag).double()
        product, power, target = product + float(x @ y), power + float(x @ x), target + float(y @ y)
    if not product or target - product**2 / power > _WIRE * target:
        return None
    return product / power
