"""Two files: what went into an effect and what came out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from nablafx_core.audio.files import probe
from nablafx_core.data.checks import PairFacts, examine_files, faults, remarks, silence
from nablafx_core.data.recording import Dataset, Recording
from nablafx_core.data.sources import WavSource
from nablafx_core.errors import DataError
from nablafx_data.channels import chosen_channels
from nablafx_data.markers import music_between_markers

_ENOUGH = 0.5
_ENOUGH_FAR = 0.7  # two takes in one key agree by chance somewhere, and most places are far
_NEAR_S = 0.02
_LONGEST_DIFFERENCE_S = 1.0
_FARTHEST_MS = 60_000.0


class Pair(Dataset):
    """One dry and one wet file at one setting of the effect; split by time.

    The delay of the wet file (the recording's and the effect's own) is measured and taken out, and the notes say
    so; an inverted polarity is kept and noted. Of files with several channels one is used. What one file is longer
    than the other, up to a second, is left out.

    Args:
        dry: file that was sent to the effect.
        wet: file that was recorded from it.
        delay: samples by which wet lags dry, negative if it is ahead; "auto" measures it.
        channel: of files with several, counted from 0.
        sample_rate: Hz to resample to; the files' own if not given.
        max_delay_ms: the most that is looked for, in either direction.
        check: refuse a pair that is silent, of two takes, shifted or drifting; if false, note it only.

    Raises:
        DataError: if a file cannot be used, or the two do not belong together.
    """

    def __init__(
        self,
        dry: str,
        wet: str,
        delay: int | Literal["auto"] = "auto",
        channel: int = 0,
        sample_rate: int | None = None,
        max_delay_ms: float = 1000.0,
        check: bool = True,
    ) -> None:
        self._paths = Path(dry), Path(wet)
        if not 0 < max_delay_ms <= _FARTHEST_MS:
            raise DataError(f"data.max_delay_ms is {max_delay_ms:g}; it is above 0 and at most {_FARTHEST_MS:,.0f}.")
        self._channels, chosen = chosen_channels(self._paths, channel)
        rates = [probe(path).sample_rate for path in self._paths]
        if sample_rate is None and rates[0] != rates[1]:
            raise DataError(f"{wet}: has {rates[1]} Hz, its dry file {dry} has {rates[0]} Hz. Set data.sample_rate.")
        self.sample_rate = rates[0] if sample_rate is None else sample_rate
        self._max_delay = round(max_delay_ms * self.sample_rate / 1000)
        lengths = [self._source(path).num_samples for path in self._paths]
        notes = list(chosen)
        if delay == "auto":
            delay, note = self._measured(min(lengths))
            notes.append(note)
        skipped = max(-delay, 0), max(delay, 0)
        rests = [length - skip for length, skip in zip(lengths, skipped, strict=True)]
        notes += self._trimmed(*rests)
        sources = (self._source(path, skip, min(rests)) for path, skip in zip(self._paths, skipped, strict=True))
        aligned_dry, aligned_wet = sources
        facts = self._examined(aligned_dry, aligned_wet)
        complaints = [f"{wet}: {fault}" for fault in faults(facts, self.sample_rate)]
        if complaints and check:
            raise DataError("\n".join(complaints) + "\ndata.check: false takes the pair as it is.")
        self.notes = (*notes, *complaints, *(f"{wet}: {remark}" for remark in remarks(facts)))
        if facts.delay.inverted and facts.delay.confidence >= _ENOUGH:
            self.notes += (f"{wet}: the effect inverts the polarity; the model will too.",)
        start, stop = music_between_markers(aligned_dry, self.sample_rate)
        self.recordings = (
            Recording(
                name=Path(wet).stem,
                dry=aligned_dry,
                wet=aligned_wet,
                source=Path(dry).stem,
                start=start,
                stop=stop,
                offset=skipped[0],
            ),
        )

    def _source(self, path: Path, offset: int = 0, length: int | None = None) -> WavSource:
        channel = self._channels[path]
        return WavSource(path, channel=channel, offset=offset, num_samples=length, sample_rate=self.sample_rate)

    def _examined(self, dry: WavSource, wet: WavSource) -> PairFacts:
        extra = (self.sample_rate, dry.channel, wet.channel, dry.offset, wet.offset, dry.num_samples)
        return examine_files(*self._paths, dry, wet, self._max_delay, extra)

    def _measured(self, length: int) -> tuple[int, str]:
        dry, wet = self._paths
        facts = self._examined(*(self._source(path, 0, length) for path in self._paths))
        if silent := next(silence(facts), None):
            raise DataError(f"{wet}: {silent}")
        found = facts.delay
        near = abs(found.samples) <= _NEAR_S * self.sample_rate
        if found.confidence < (_ENOUGH if near else _ENOUGH_FAR):
            raise DataError(
                f"{wet}: no delay to {dry} could be measured within {self._max_delay} samples; the two seem to have "
                "little in common. Is wet another take? Else set data.delay, or data.max_delay_ms if it is longer."
            )
        delay = round(found.samples)
        milliseconds = 1000 * found.samples / self.sample_rate
        return delay, (
            f"{wet}: lags its dry file by {found.samples:.2f} samples ({milliseconds:.2f} ms, confidence "
            f"{found.confidence:.2f}); {delay} samples were taken out (data.delay)."
        )

    def _trimmed(self, dry_rest: int, wet_rest: int) -> Iterator[str]:
        dry, wet = self._paths
        difference = abs(dry_rest - wet_rest)
        if min(dry_rest, wet_rest) <= 0 or difference > _LONGEST_DIFFERENCE_S * self.sample_rate:
            raise DataError(
                f"{wet}: after alignment {wet_rest:,} samples, its dry file {dry} {dry_rest:,}. "
                "Cut both to one length, so that they begin together."
            )
        if difference:
            yield f"{wet if wet_rest > dry_rest else dry}: the last {difference} samples have no partner; left out."
