"""Finding what is wrong with a recording of an effect before a model is trained on it."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from nablafx_core.audio.files import AudioInfo, probe
from nablafx_core.data.cache import file_key, remembered
from nablafx_core.data.delay import Delay, find_delay
from nablafx_core.data.recording import AudioSource
from nablafx_core.errors import DataError

SILENT = 1e-5
"""Peak of full scale below which a signal counts as silent, -100 dB."""
CONFIDENT = 0.85
"""Confidence of a measured delay from which on it may refuse a pair."""
TOLERANCE = 16
"""Samples by which measured delays of equally aligned pairs may differ: other music excites other frequencies."""
LONGEST_LAG_MS = 10.0
"""A wet signal that lags by more was not aligned; a model would spend its receptive field on the delay."""

UNRELATED, LITTLE = 0.35, 0.6
"""What other music has in common with a dry file by chance, and what most effects leave; see `PairFacts.common`."""
SHARE_OF_OTHERS, SHARE_ELSEWHERE = 0.6, 0.8
"""A pair with less than this share of what the others of its device have in common is another take; the second share
is for a pair that agrees best at another delay than the others."""

_MEASURE = 2  # count up where what is measured changes, so that no old measurement is remembered
_BLOCK = 1 << 14
_WINDOW = 1 << 19
_SHORT = 1 << 16  # a clock must not drift much within it
_LEAST = 20 * 1024  # shorter, and a delay cannot be measured
_REACH = 480  # 10 ms at 48 kHz, by which an effect with a moving delay may differ from its mean


@dataclass(frozen=True)
class PairFacts:
    """What was measured on a dry signal and its wet one.

    Args:
        dry_peak, wet_peak: of full scale.
        dry_clipped, wet_clipped: samples at or above full scale that equal their successor.
        delay: of wet against dry.
        drift: samples by which the delay of the last quarter differs from that of the first; 0 if not clear.
        common: 0 to 1, how well that one delay explains each quarter (the median of their confidences). Above 0.7
            through distortion, filters and modulation, 0.4 to 0.6 through a vibrato or a reverb without its dry
            part, mostly below 0.35 for other music; 0 where that cannot be told.
    """

    dry_peak: float
    wet_peak: float
    dry_clipped: int
    wet_clipped: int
    delay: Delay
    drift: float
    common: float


def same_length(dry: Path, wet: Path) -> AudioInfo:
    """What the header of a dry file says, if that of its wet file says the same.

    Raises:
        DataError: if a file cannot be read, or their rates or lengths differ.
    """
    first, second = probe(dry), probe(wet)
    if first.sample_rate != second.sample_rate:
        raise DataError(
            f"{wet.parent}: {wet.name} has {second.sample_rate} Hz, its dry file {dry} has {first.sample_rate} Hz. "
            "Record both at one rate."
        )
    if first.num_samples != second.num_samples:
        difference = second.num_samples - first.num_samples
        raise DataError(
            f"{wet.parent}: {wet.name} is {abs(difference):,} samples {'longer' if difference > 0 else 'shorter'} "
            f"than its dry file {dry}. Cut both to one length, so that they begin together."
        )
    return first


def examine(dry: AudioSource, wet: AudioSource, max_delay: int) -> PairFacts:
    """Read a pair once, block by block, and measure its delay where the dry signal is loudest.

    Args:
        dry, wet: of equal length.
        max_delay: samples, the most that is looked for.
    """
    dry_peak, dry_clipped, energies = _levels(dry)
    wet_peak, wet_clipped, _ = _levels(wet)
    length = min(dry.num_samples, wet.num_samples)

    def measured(start: int, stop: int, width: int) -> Delay:
        at, end = _loudest(energies, start, stop, width)
        return find_delay(dry.read(at, end).numpy(), wet.read(at, end).numpy(), max_delay)

    first, last = measured(0, length // 4, _SHORT), measured(3 * length // 4, length, _SHORT)
    clear = min(first.confidence, last.confidence) >= CONFIDENT and first.inverted == last.inverted
    drift = last.samples - first.samples if clear else 0.0
    whole = measured(0, length, _WINDOW)
    common = _common(dry, wet, energies, whole)
    return PairFacts(dry_peak, wet_peak, dry_clipped, wet_clipped, whole, drift, common)


def examine_files(
    dry_path: Path, wet_path: Path, dry: AudioSource, wet: AudioSource, max_delay: int, extra: object = ""
) -> PairFacts:
    """`examine`, remembered in the cache folder until a file, or `extra`, changes."""
    key = file_key(dry_path, wet_path, extra=(_MEASURE, max_delay, extra))
    return remembered("checked", key, PairFacts, lambda: examine(dry, wet, max_delay))


def _levels(source: AudioSource) -> tuple[float, int, list[float]]:
    """Peak, number of clipped samples, and the energy of each block."""
    peak, clipped, energies = 0.0, 0, []
    for start in range(0, source.num_samples, _BLOCK):
        block = source.read(start, min(start + _BLOCK, source.num_samples))
        peak = max(peak, float(block.abs().max()))
        energies.append(float(block.double().square().sum()))
        flat = (block.abs() >= 0.9999) & (torch.diff(block, append=block[-1:]) == 0)
        clipped += int(flat.sum()) if int(flat.sum()) > 1 else 0
    return peak, clipped, energies


def _loudest(energies: list[float], start: int, stop: int, width: int) -> tuple[int, int]:
    """Where the `width` samples between start and stop with the most energy begin and end."""
    starts = range(start, max(stop - width, start) + 1, _BLOCK)
    at = max(starts, key=lambda at: sum(energies[at // _BLOCK : (at + width) // _BLOCK]))
    return at, min(at + width, stop)


def _common(dry: AudioSource, wet: AudioSource, energies: list[float], whole: Delay) -> float:
    """See `PairFacts`. By chance a delay explains a whole recording, but not each part of it."""
    lag = round(whole.samples)
    start, length = max(-lag, 0), min(dry.num_samples, wet.num_samples) - abs(lag)
    parts = min(4, length // _LEAST)
    found = []
    for part in range(parts):
        at, end = _loudest(energies, start + part * length // parts, start + (part + 1) * length // parts, _SHORT)
        pieces = dry.read(at, end).numpy(), wet.read(at + lag, end + lag).numpy()
        found.append(find_delay(*pieces, _REACH).confidence)
    return statistics.median([confidence for confidence in found if confidence] or [whole.confidence])


def silence(facts: PairFacts) -> Iterator[str]:
    """Which of the two is silent, as the end of a sentence that begins with the wet file."""
    for peak, what in ((facts.dry_peak, "its dry file is silent"), (facts.wet_peak, "is silent")):
        if peak < SILENT:
            yield f"{what} (peak {peak:.1e} of full scale)."


def faults(facts: PairFacts, sample_rate: int) -> Iterator[str]:
    """Why a pair should not be trained on, each as the end of a sentence that begins with the file."""
    if silent := next(silence(facts), None):
        yield silent
        return
    if 0 < facts.common < UNRELATED:
        yield (
            f"has nothing in common with its dry file ({facts.common:.2f} of 1, as other music has). "
            "Is it another take, or another file?"
        )
    if abs(facts.drift) > TOLERANCE:
        yield (
            f"drifts: its delay changes by {facts.drift:.1f} samples from the first quarter to the last. "
            "Record dry and wet on one clock."
        )
    delay = facts.delay
    if delay.confidence < CONFIDENT:
        return
    if delay.samples > LONGEST_LAG_MS * sample_rate / 1000:
        yield f"lags its dry file by {delay.samples:.1f} samples. Shift it into place."
    elif delay.samples < -TOLERANCE:
        yield f"is {-delay.samples:.1f} samples ahead of its dry file, which no effect can be. Shift it into place."


def remarks(facts: PairFacts) -> Iterator[str]:
    """What a person should know of a pair that can be used, each as the end of a sentence."""
    if UNRELATED <= facts.common < LITTLE:
        yield (
            f"has little in common with its dry file ({facts.common:.2f} of 1): that is another take, or an effect "
            "that leaves little, such as a vibrato or a reverb without its dry part."
        )
    for count, what in ((facts.dry_clipped, "its dry file clips"), (facts.wet_clipped, "clips")):
        if count:
            yield f"{what} ({count} samples at full scale)."


def odd_ones(facts: Mapping[str, PairFacts]) -> Iterator[tuple[str, str]]:
    """Pairs of one device that are aligned or poled otherwise than most, or of another take: name and what is wrong."""
    strange = dict(_strangers(facts))
    yield from strange.items()
    facts = {name: fact for name, fact in facts.items() if name not in strange}
    clear = {name: fact.delay for name, fact in facts.items() if fact.delay.confidence >= CONFIDENT}
    if len(clear) < 2:
        return
    usual = statistics.median_low([delay.samples for delay in clear.values()])
    inverted = sum(delay.inverted for delay in clear.values()) * 2 > len(clear)
    for name, delay in clear.items():
        if abs(delay.samples - usual) > TOLERANCE:
            yield (
                name,
                f"is shifted: it lags its dry file by {delay.samples:.1f} samples, the others by {usual:.1f}. "
                "Shift it into place.",
            )
        elif delay.inverted != inverted:
            yield name, "has the opposite polarity of the others. Invert it, or leave it out."


def _strangers(facts: Mapping[str, PairFacts]) -> Iterator[tuple[str, str]]:
    """Pairs of which dry and wet are different takes."""
    for name, fact in facts.items():
        others = [other for key, other in facts.items() if key != name and other.common]
        if not others or not fact.common:
            continue
        usual = statistics.median([other.common for other in others])
        at = statistics.median([other.delay.samples for other in others])
        share = SHARE_ELSEWHERE if abs(fact.delay.samples - at) > _REACH else SHARE_OF_OTHERS
        if fact.common < share * usual:
            yield (
                name,
                f"is another take than its dry file: what they have in common is {fact.common:.2f} of 1, in the other "
                f"recordings {usual:.2f}. Record it again, or leave it out.",
            )
