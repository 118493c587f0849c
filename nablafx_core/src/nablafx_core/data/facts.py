"""Measure a dry signal and its wet one before a model is trained on them."""

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
"""Confidence above which a measured delay may cause a pair to be refused."""
REACH = 480
"""Samples by which an effect with a moving delay may differ from its mean, 10 ms at 48 kHz."""

_MEASURE = 7  # increment if a measurement changes, to invalidate cached ones
_SHORT = 1 << 16  # samples of the loudest passages, 1.4 s at 48 kHz
_LEAST = 20 * 1024  # fewest samples for which a delay can be measured
_FAR = 4  # places beyond the range at which a delay is tried
_LIKELY = 0.7  # confidence above which a delay beyond the range is accepted
_ROUND = 0.1  # largest distance in samples between a certain delay and its whole number
_WIRE = 1e-6  # relative energy left after subtracting a scaled copy, -60 dB


@dataclass(frozen=True)
class Step:
    """Jump of the delay.

    Args:
        start, stop: samples of the dry signal between which the jump lies.
        samples: number of samples by which the delay grows.
    """

    start: int
    stop: int
    samples: float


@dataclass(frozen=True)
class PairFacts:
    """Measurements of a dry signal and its wet one.

    Args:
        dry, wet: levels of each signal.
        delay: delay of wet against dry, in the middle.
        arrival: samples after which the effect's response begins; at most `delay`, and not too late.
        certain: true if `delay` itself is known to a fraction of a sample.
        drift: samples by which the delay grows from the beginning to the end along a line; 0 if it does not.
        uncertainty: standard error of the drift.
        slope: drift per sample; 1e-6 is one part per million.
        steps: jumps of the delay.
        common: 0 to 1, how well one delay (or one drift) explains each quarter (the median of their confidences).
            Above 0.7 through distortion, filters and modulation, 0.4 to 0.6 through a vibrato or a reverb without its
            dry part, mostly below 0.35 for other music; 0 if it cannot be measured.
        gain: factor between wet and dry, if they differ by nothing else.
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
    """Largest delay in whole samples that can be removed from wet without making it begin before its cause in dry.

    If the measured delay is certain and near a whole number, it is that number; otherwise the sample below the first
    arrival. A wet file that may begin together with its dry one, as a plug-in's output does, is not shifted.
    """
    nearest = round(facts.delay.samples)
    if facts.certain and abs(facts.delay.samples - nearest) <= _ROUND:
        return nearest
    if facts.arrival <= 0 <= facts.delay.samples + 0.5:
        return 0
    return math.floor(facts.arrival)


def examine(dry: AudioSource, wet: AudioSource, max_delay: int, sample_rate: int) -> PairFacts:
    """Read a pair once, piece by piece, and measure its delay in windows over its whole length.

    A delay larger than `max_delay` is found if the loudness of the two signals indicates it.

    Args:
        dry, wet: of about equal length.
        max_delay: largest delay to search for first, in samples.
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
    """Return the result of `examine`, cached until a file, or `extra`, changes."""
    key = file_key(dry_path, wet_path, extra=(_MEASURE, max_delay, sample_rate, extra))
    return remembered("checked", key, PairFacts, lambda: examine(dry, wet, max_delay, sample_rate))


def _far(dry: Array, wet: Array) -> Iterator[int]:
    """Return the lags at which the loudness of both signals rises together, in samples."""
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
    """Return beginning and end of the `width` samples between start and stop with the most energy."""
    sums = np.concatenate([[0.0], np.cumsum(energies)])
    starts = np.arange(start, max(stop - width, start) + 1, BLOCK)
    ends = np.minimum((starts + width) // BLOCK, len(energies))
    at = int(starts[np.argmax(sums[ends] - sums[np.minimum(starts // BLOCK, len(energies))])])
    return at, min(at + width, stop)


def _quarters(dry: AudioSource, wet: AudioSource, energies: Array, lag: int) -> Iterator[tuple[int, int]]:
    """Return the loudest stretch of each quarter of the part that dry and wet share."""
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
    """Return the factor between dry and wet, if it explains the loudest stretch of each quarter; else None."""
    lag = round(delay.samples)
    product = power = target = 0.0
    for at, end in _quarters(dry, wet, energies, lag):
        x, y = dry.read(at, end).double(), wet.read(at + lag, end + lag).double()
        product, power, target = product + float(x @ y), power + float(x @ x), target + float(y @ y)
    if not product or target - product**2 / power > _WIRE * target:
        return None
    return product / power
