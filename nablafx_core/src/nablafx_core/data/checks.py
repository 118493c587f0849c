"""Describe faults of a recording of an effect, from measurements."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path

from nablafx_core.audio.reading import AudioInfo, probe
from nablafx_core.audio.values import INTEGERS, LARGEST_INTEGER, integer_scale
from nablafx_core.data.facts import CONFIDENT, REACH, PairFacts
from nablafx_core.data.levels import SILENT, Silence
from nablafx_core.errors import DataError

TOLERANCE = 16
"""Samples by which measured delays of equally aligned pairs may differ, since the music affects the measurement; also
the samples by which a wet signal may seem to be ahead of its dry one."""
DRIFT, SIGNIFICANT = 2.0, 5.0
"""Smallest drift over the recording for which a pair is rejected, in samples and in multiples of
`PairFacts.uncertainty`; both must be reached."""
LONGEST_LAG_MS = 10.0
"""Lag in milliseconds above which a wet signal is rejected: a model would spend its receptive field on the delay."""

UNRELATED, LITTLE = 0.35, 0.6
"""Largest `PairFacts.common` of unrelated music, and smallest `PairFacts.common` of most effects."""
SHARE_OF_OTHERS, SHARE_ELSEWHERE = 0.6, 0.8
"""Share of the median `PairFacts.common` of the device's other pairs below which the files of a pair are different
takes; the second value is for pairs whose delay also differs from the median, by more than `REACH` samples."""
DEAD, GHOST = 0.01, 0.05
"""Smallest shares for which a pair is rejected: of the time that dry plays while wet is silent (unless as after a
gate), and of the time that wet plays long after dry became silent."""
FAR_ABOVE = 4.0
"""Peak relative to full scale at or above which a level is reported as high."""
FAINT = 1e-3
"""Peak relative to full scale below which a level is reported as faint."""
OFFSET = 0.05
"""Mean relative to full scale above which an offset is reported."""


def same_length(dry: Path, wet: Path) -> AudioInfo:
    """Return the properties of a dry file if the wet file has the same sample rate and length.

    Raises:
        DataError: if `probe` rejects a file, or the sample rates or lengths differ.
    """
    first, second = probe(dry), probe(wet)
    if first.sample_rate != second.sample_rate:
        raise DataError(
            f"{wet.parent}: {wet.name} has {second.sample_rate} Hz, its dry file {dry} has {first.sample_rate} Hz. "
            "Record both at the same rate."
        )
    if first.num_samples != second.num_samples:
        difference = second.num_samples - first.num_samples
        raise DataError(
            f"{wet.parent}: {wet.name} is {abs(difference):,} samples {'longer' if difference > 0 else 'shorter'} "
            f"than its dry file {dry}. Cut both to the same length, so that they begin together."
        )
    return first


def silence(facts: PairFacts) -> Iterator[str]:
    """Report each silent signal, dry and wet, as the end of a sentence that begins with the name of the wet file.

    A signal is silent if its peak, or half the range of its samples, is below `SILENT`.
    """
    for signal, what in ((facts.dry, "its dry file "), (facts.wet, "")):
        if signal.peak < SILENT:
            yield f"{what}is silent (peak {signal.peak:.1e} of full scale)."
        elif signal.swing < SILENT:
            yield f"{what}is silent: every sample is {signal.offset:.4g}."


def faults(facts: PairFacts, sample_rate: int) -> Iterator[str]:
    """Report the faults for which a pair is rejected, as ends of sentences that begin with the name of the wet file.

    If a signal is silent, only that is reported. A constant delay is judged only without drift and jumps, and if its
    confidence is at least `CONFIDENT`.
    """
    if silent := next(silence(facts), None):
        yield silent
        return
    for signal, what in ((facts.dry, "its dry file "), (facts.wet, "")):
        if signal.peak > LARGEST_INTEGER:
            yield (f"{what}peaks at {signal.peak:.3g} times full scale: it is damaged. Record or export it again.")
        elif signal.peak >= INTEGERS:
            yield (
                f"{what}peaks at {signal.peak:,.0f} times full scale: its samples are integers that were written as "
                f"floats. Divide them by {integer_scale(signal.peak):,}."
            )
    timing = [*_drifting(facts, sample_rate), *_jumping(facts, sample_rate)]
    yield from timing
    if not timing and 0 < facts.common < UNRELATED:
        yield (
            f"has nothing in common with its dry file ({facts.common:.2f} of 1, as for unrelated music). "
            "Check whether it is another take, or the wrong file."
        )
    if facts.dead.share >= DEAD and not facts.dead.by_level:
        yield _dead(facts.dead, sample_rate) + " Cut these parts out of both files, or record them again."
    if facts.ghost.share >= GHOST:
        yield _ghost(facts.ghost, sample_rate) + " Cut these parts out of both files."
    delay = facts.delay
    if timing or delay.confidence < CONFIDENT:
        return
    if delay.samples > LONGEST_LAG_MS * sample_rate / 1000:
        yield f"lags its dry file by {delay.samples:.1f} samples. Shift it into place."
    elif delay.samples < -TOLERANCE:
        yield f"is {-delay.samples:.1f} samples ahead of its dry file; no effect responds early. Shift it into place."


def remarks(facts: PairFacts, sample_rate: int) -> Iterator[str]:
    """Report what may be wrong with a pair that is not rejected for it, in the form of `faults`.

    A wet signal that is its dry signal times a factor is reported first.
    """
    if facts.gain is not None:
        what = "its dry file itself" if is_wire(facts) else f"its dry file times {facts.gain:.4g}"
        yield f"is {what}: a model of it is a wire. Check the file and the channel."
    if UNRELATED <= facts.common < LITTLE:
        yield (
            f"has little in common with its dry file ({facts.common:.2f} of 1): it is another take, or the effect "
            "changes the signal strongly, as a vibrato or a reverb without its dry part does."
        )
    if facts.dead.samples and (facts.dead.share < DEAD or facts.dead.by_level):
        gate = ", only where the dry file is quiet, as after a gate" if facts.dead.by_level else ""
        yield _dead(facts.dead, sample_rate).rstrip(".") + gate + "."
    if 0 < facts.ghost.share < GHOST:
        yield _ghost(facts.ghost, sample_rate)
    for signal, what in ((facts.dry, "its dry file "), (facts.wet, "")):
        if signal.clipped:
            yield f"{what}clips ({signal.clipped} samples at full scale)."
        if FAR_ABOVE <= signal.peak < INTEGERS:
            yield f"{what}peaks at {signal.peak:.1f} times full scale ({20 * math.log10(signal.peak):.0f} dB above it)."
        if SILENT <= signal.peak < FAINT:
            yield f"{what}is faint (peak {20 * math.log10(signal.peak):.0f} dB of full scale)."
        if SILENT < OFFSET < abs(signal.offset):
            yield f"{what}has an offset of {signal.offset:.3f} of full scale."


def is_wire(facts: PairFacts) -> bool:
    """True if wet is its dry signal, perhaps delayed, times a factor within 1e-4 of 1."""
    return facts.gain is not None and abs(facts.gain - 1) < 1e-4


def _drifting(facts: PairFacts, sample_rate: int) -> Iterator[str]:
    if abs(facts.drift) >= max(DRIFT, SIGNIFICANT * facts.uncertainty):
        ppm = facts.slope * 1e6
        way = "grows" if ppm > 0 else "shrinks"
        rate = sample_rate * (1 + facts.slope)
        yield (
            f"drifts: its delay {way} by {abs(facts.drift):,.1f} samples from the beginning to the end "
            f"({ppm:+.1f} ppm), as if it was recorded at {rate:,.3f} Hz and its dry file played at "
            f"{sample_rate:,} Hz. Record both on one clock, or play it {1 + facts.slope:.7f} times as fast "
            f"(sox WET OUT speed {1 + facts.slope:.7f})."
        )


def _jumping(facts: PairFacts, sample_rate: int) -> Iterator[str]:
    if facts.steps:
        told = ", ".join(
            f"by {step.samples:+,.0f} samples at about {_clock((step.start + step.stop) / 2, sample_rate)}"
            for step in facts.steps
        )
        yield (
            f"jumps: its delay changes {told}, as if a recorder lost samples. "
            "Record it again, or cut it into separate files there."
        )


def _dead(dead: Silence, sample_rate: int) -> str:
    return (
        f"is silent for {dead.samples / sample_rate:.2f} s while its dry file plays "
        f"({_percent(dead.share)} of the playing; {_spans(dead, sample_rate)})."
    )


def _ghost(ghost: Silence, sample_rate: int) -> str:
    return (
        f"plays for {ghost.samples / sample_rate:.2f} s though its dry file has been silent for 2 s "
        f"({_percent(ghost.share)} of its playing; {_spans(ghost, sample_rate)})."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "under 1 %"


def _spans(silent: Silence, sample_rate: int) -> str:
    told = [f"{_clock(start, sample_rate)} to {_clock(stop, sample_rate)}" for start, stop in silent.spans]
    return ", ".join(told) + (", …" if silent.more else "")


def _clock(samples: float, sample_rate: int) -> str:
    seconds = round(samples / sample_rate, 1)
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)}:{seconds % 60:04.1f} min"


def odd_ones(facts: Mapping[str, PairFacts]) -> Iterator[tuple[str, str]]:
    """Report each pair that differs from most pairs of a device in take, delay or polarity.

    Delay and polarity are compared between pairs whose delay has at least the confidence `CONFIDENT`.

    Args:
        facts: measurements of the pairs of one device, by the name of the pair.

    Yields:
        Name of the pair and its fault, as the end of a sentence that begins with the name of the wet file.
    """
    strange = dict(_other_takes(facts))
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


def _other_takes(facts: Mapping[str, PairFacts]) -> Iterator[tuple[str, str]]:
    """Report pairs whose dry and wet files agree much less than in the other pairs, as different takes do."""
    for name, fact in facts.items():
        others = [other for key, other in facts.items() if key != name and other.common]
        if not others or not fact.common:
            continue
        usual = statistics.median([other.common for other in others])
        at = statistics.median([other.delay.samples for other in others])
        share = SHARE_ELSEWHERE if abs(fact.delay.samples - at) > REACH else SHARE_OF_OTHERS
        if fact.common < share * usual:
            yield (
                name,
                f"is another take than its dry file: they agree by {fact.common:.2f} of 1, in the other "
                f"recordings by {usual:.2f}. Record it again, or leave it out.",
            )
