"""Two files: what went into an effect and what came out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from nablafx_core.audio.reading import probe
from nablafx_core.audio.values import INTEGERS
from nablafx_core.data.checks import faults, is_wire, remarks, silence
from nablafx_core.data.delay import SHORTEST
from nablafx_core.data.facts import PairFacts, examine_files, whole_delay
from nablafx_core.data.levels import SILENT, measure_levels
from nablafx_core.data.sources import WavSource
from nablafx_core.errors import DataError
from nablafx_core.interfaces import Dataset, Recording
from nablafx_data.channels import chosen_channels, sounding_channels, sounding_elsewhere
from nablafx_data.markers import music_between_markers

_ENOUGH = 0.5
_ENOUGH_FAR = 0.7  # two takes in one key agree by chance somewhere, and most places are far
_NEAR_S = 0.02
_LEAST_SHARED = 0.5
_FARTHEST_MS = 60_000.0


class Pair(Dataset):
    """One dry and one wet file at one setting of the effect; split by time.

    The delay of the wet file (the recording's and the effect's own) is measured and taken out, and the notes say
    so; an inverted polarity is kept and noted. Of files with several channels one is used. What one file is longer
    than the other is left out and noted.

    Args:
        dry: file that was sent to the effect.
        wet: file that was recorded from it. One stereo file can be both, with `channel` and `wet_channel`.
        delay: samples by which wet lags dry, negative if it is ahead; "auto" measures it.
        channel: of files with several, counted from 0.
        wet_channel: of the wet file, where it is another one.
        sample_rate: Hz to resample to; the files' own if not given.
        max_delay_ms: the largest delay that is taken out, in either direction.
        check: refuse a pair that is silent, of two takes, shifted, drifting or unchanged by the effect; if false, note
            it only.

    Raises:
        DataError: if a file cannot be used, or the two do not belong together.
    """

    def __init__(
        self,
        dry: str,
        wet: str,
        delay: int | Literal["auto"] = "auto",
        channel: int = 0,
        wet_channel: int | None = None,
        sample_rate: int | None = None,
        max_delay_ms: float = 1000.0,
        check: bool = True,
    ) -> None:
        self._paths = Path(dry), Path(wet)
        if not 0 < max_delay_ms <= _FARTHEST_MS:
            raise DataError(f"data.max_delay_ms is {max_delay_ms:g}; it is above 0 and at most {_FARTHEST_MS:,.0f}.")
        notes = self._choose_channels(channel, wet_channel)
        rates = [probe(path).sample_rate for path in self._paths]
        if sample_rate is None and rates[0] != rates[1]:
            raise DataError(f"{wet}: has {rates[1]} Hz, its dry file {dry} has {rates[0]} Hz. Set data.sample_rate.")
        self.sample_rate = rates[0] if sample_rate is None else sample_rate
        self._max_delay = round(max_delay_ms * self.sample_rate / 1000)
        lengths = self._source(0).num_samples, self._source(1).num_samples
        if delay == "auto":
            delay, note = self._measured(min(lengths))
            notes.append(note)
        skipped = max(-delay, 0), max(delay, 0)
        rests = lengths[0] - skipped[0], lengths[1] - skipped[1]
        notes += self._trimmed(*rests)
        aligned = self._source(0, skipped[0], min(rests)), self._source(1, skipped[1], min(rests))
        facts = self._examined(*aligned)
        complaints, said = self._judged(facts)
        if complaints and check:
            raise DataError("\n".join(complaints) + "\ndata.check: false takes the pair as it is.")
        self.notes = (*notes, *complaints, *said)
        start, stop = music_between_markers(aligned[0], self.sample_rate)
        self.recordings = (
            Recording(
                name=Path(wet).stem,
                dry=aligned[0],
                wet=aligned[1],
                source=Path(dry).stem,
                start=start,
                stop=stop,
                offset=skipped[0],
            ),
        )

    def _choose_channels(self, channel: int, wet_channel: int | None) -> list[str]:
        dry, wet = self._paths
        if wet_channel is None:
            channels, notes = chosen_channels(self._paths, channel)
            self._channels = channels[dry], channels[wet]
            self._wet_setting = "data.channel" if probe(dry).channels == 1 else "data.wet_channel"
            return list(notes)
        self._wet_setting = "data.wet_channel"
        (of_dry, said), (of_wet, also) = (
            chosen_channels([dry], channel if probe(dry).channels > 1 else 0),
            chosen_channels([wet], wet_channel, self._wet_setting),
        )
        self._channels = of_dry[dry], of_wet[wet]
        return [*said, *also]

    def _judged(self, facts: PairFacts) -> tuple[list[str], list[str]]:
        """Return the problems that refuse the pair, and the ones that are only noted."""
        wet = self._paths[1]
        complaints = [f"{wet}: {fault}" for fault in faults(facts, self.sample_rate)]
        said = [f"{wet}: {remark}" for remark in remarks(facts, self.sample_rate)]
        if next(silence(facts), None):
            complaints[0] += self._heard_elsewhere(facts)
        elif is_wire(facts):
            complaints.append(said.pop(0) + self._other_channels())  # `remarks` says a wire first
        if facts.delay.inverted and facts.delay.confidence >= _ENOUGH:
            said.append(f"{wet}: the effect inverts the polarity; the model will too.")
        return complaints, said

    def _heard_elsewhere(self, facts: PairFacts) -> str:
        """Name the channel that has the signal that the selected one lacks."""
        role, setting = (0, "data.channel") if facts.dry.swing < SILENT else (1, self._wet_setting)
        return sounding_elsewhere(self._paths[role], self._channels[role], setting)

    def _other_channels(self) -> str:
        others = sounding_channels(self._paths[1], self._channels[1])
        if not others:
            return ""
        return f" Channel {self._channels[1]} was read; {self._wet_setting}: {next(iter(others))} reads another."

    def _source(self, role: int, offset: int = 0, length: int | None = None, channel: int | None = None) -> WavSource:
        chosen = self._channels[role] if channel is None else channel
        return WavSource(
            self._paths[role], channel=chosen, offset=offset, num_samples=length, sample_rate=self.sample_rate
        )

    def _examined(self, dry: WavSource, wet: WavSource) -> PairFacts:
        extra = (dry.channel, wet.channel, dry.offset, wet.offset, dry.num_samples, wet.num_samples)
        return examine_files(*self._paths, dry, wet, self._max_delay, self.sample_rate, extra)

    def _measured(self, length: int) -> tuple[int, str]:
        dry, wet = self._paths
        if length < SHORTEST:
            raise DataError(
                f"{wet}: shares only {length:,} samples with its dry file {dry}; a delay can be measured from "
                f"{SHORTEST:,} samples on. Use longer recordings, or set data.delay."
            )
        facts = self._examined(self._source(0, 0, length), self._source(1, 0, length))
        if silent := next(silence(facts), None):
            raise DataError(f"{wet}: {silent}{self._heard_elsewhere(facts)}")
        found = facts.delay
        near = abs(found.samples) <= _NEAR_S * self.sample_rate
        milliseconds = 1000 * found.samples / self.sample_rate
        weak = found.confidence < (_ENOUGH if near else _ENOUGH_FAR)
        loud = max(facts.dry.peak, facts.wet.peak) >= INTEGERS
        if (weak or abs(found.samples) > self._max_delay) and (facts.steps or loud):  # these are the reason
            raise DataError(f"{wet}: {next(faults(facts, self.sample_rate))}")
        if weak:
            raise DataError(
                f"{wet}: no delay to {dry} could be measured; the two have little in common. "
                f"Is wet another take?{self._fitting_channel(length)} If you know the delay, set data.delay."
            )
        if abs(found.samples) > self._max_delay:
            allowed = 100 * math.ceil((abs(milliseconds) + 20) / 100)
            way = "lags" if found.samples > 0 else "is ahead of"
            raise DataError(
                f"{wet}: {way} its dry file by {abs(found.samples):,.0f} samples ({abs(milliseconds):,.0f} ms), more "
                f"than data.max_delay_ms allows. Set data.max_delay_ms to {allowed}."
            )
        delay = whole_delay(facts)
        why = (
            "" if facts.certain or delay == round(found.samples) else ", where the effect's answer begins at the latest"
        )
        return delay, (
            f"{wet}: lags its dry file by {found.samples:.2f} samples ({milliseconds:.2f} ms, confidence "
            f"{found.confidence:.2f}); {delay} samples were taken out (data.delay){why}."
        )

    def _fitting_channel(self, length: int) -> str:
        """Name another channel of the wet file that matches the dry file."""
        for channel in sounding_channels(self._paths[1], self._channels[1]):
            facts = self._examined(self._source(0, 0, length), self._source(1, 0, length, channel))
            if facts.delay.confidence >= _ENOUGH_FAR:
                return f" Channel {channel} of it fits: set {self._wet_setting} to {channel}."
        return ""

    def _trimmed(self, dry_rest: int, wet_rest: int) -> Iterator[str]:
        shared, longest = min(dry_rest, wet_rest), max(dry_rest, wet_rest)
        if shared == longest:
            return
        role = 1 if wet_rest > dry_rest else 0
        if shared <= 0:
            total = self._source(1 - role).num_samples
            raise DataError(
                f"{self._paths[1 - role]}: data.delay takes {total - shared:,} samples off, and it has {total:,}."
            )
        if shared < _LEAST_SHARED * longest and not self._is_silent(role, longest - shared):
            raise DataError(
                f"{self._paths[1]}: after alignment {wet_rest:,} samples, its dry file {self._paths[0]} {dry_rest:,}. "
                "Cut both to one length, so that they begin together."
            )
        rest = longest - shared
        yield (
            f"{self._paths[role]}: the last {rest} samples ({rest / self.sample_rate:.2f} s) have no partner; left out."
        )

    def _is_silent(self, role: int, rest: int) -> bool:
        total = self._source(role).num_samples
        return measure_levels(self._source(role, total - rest, rest))[0].swing < SILENT
