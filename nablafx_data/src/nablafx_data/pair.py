"""A dry and a wet file: the input of an effect and its output."""

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

#: Confidence from which a delay of up to `_NEAR_S` is accepted, and that for longer delays. Two takes in the same
#: key match by chance at some delay, and most possible delays are long.
_ENOUGH, _ENOUGH_FAR, _NEAR_S = 0.5, 0.7, 0.02
#: Share of the longer file that both must have in common; with less, one of the files is probably the wrong one.
_LEAST_SHARED = 0.5
#: Upper limit of `max_delay_ms`. No recording is late by more than a minute.
_FARTHEST_MS = 60_000.0


class Pair(Dataset):
    """One dry and one wet file at one setting of the effect, split by time.

    The delay of the wet file (of the recording and of the effect itself) is measured and removed, with a note. An
    inverted polarity is kept, with a note. One channel of files with several is used. If one file is longer, its end is
    skipped, with a note; a pair is rejected if this is more than half of the file and not silent. Sync impulses at the
    ends of the dry file are skipped.

    Args:
        dry: path of the file that was sent to the effect.
        wet: path of the file that was recorded from it. It may be the same stereo file, with `channel` and
            `wet_channel`.
        delay: number of samples, at `sample_rate`, by which wet lags dry, negative if it is ahead; "auto" measures it.
        channel: channel of files with several, counted from 0.
        wet_channel: channel of the wet file, if it is another one.
        sample_rate: sample rate in Hz to resample to; that of the files, which must be equal, if not given.
        max_delay_ms: largest measured delay that is removed, in ms, in either direction; above 0, at most 60,000.
        check: reject a pair with a fault, such as silence, two takes, a shift, a drift, or no effect; if false, only
            note it. A delay that cannot be measured is an error in any case.

    Raises:
        DataError: if a file is invalid, the two do not match, their delay cannot be measured or is too long, or the
            check finds a fault.
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
            raise DataError(f"data.max_delay_ms must be above 0 and at most {_FARTHEST_MS:,.0f}, got {max_delay_ms:g}.")
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
            raise DataError("\n".join(complaints) + "\nSet data.check to false to use the pair nevertheless.")
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
        """Return the problems for which the pair is rejected, and the remarks that are only noted."""
        wet = self._paths[1]
        complaints = [f"{wet}: {fault}" for fault in faults(facts, self.sample_rate)]
        said = [f"{wet}: {remark}" for remark in remarks(facts, self.sample_rate)]
        if next(silence(facts), None):
            complaints[0] += self._heard_elsewhere(facts)
        elif is_wire(facts):
            complaints.append(said.pop(0) + self._other_channels())  # the first remark is the one about a wire
        if facts.delay.inverted and facts.delay.confidence >= _ENOUGH:
            said.append(f"{wet}: the effect inverts the polarity, and so will the model.")
        return complaints, said

    def _heard_elsewhere(self, facts: PairFacts) -> str:
        """Return the advice to set another channel of the silent file; empty if none has a signal."""
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
        """Measure the delay in the first `length` samples; return the samples to remove, and the note about them.

        Raises:
            DataError: if the delay cannot be measured, or is longer than `max_delay_ms`.
        """
        dry, wet = self._paths
        if length < SHORTEST:
            raise DataError(
                f"{wet}: has only {length:,} samples in common with its dry file {dry}; measuring a delay requires "
                f"{SHORTEST:,}. Use longer recordings, or set data.delay."
            )
        facts = self._examined(self._source(0, 0, length), self._source(1, 0, length))
        if silent := next(silence(facts), None):
            raise DataError(f"{wet}: {silent}{self._heard_elsewhere(facts)}")
        found = facts.delay
        near = abs(found.samples) <= _NEAR_S * self.sample_rate
        milliseconds = 1000 * found.samples / self.sample_rate
        weak = found.confidence < (_ENOUGH if near else _ENOUGH_FAR)
        loud = max(facts.dry.peak, facts.wet.peak) >= INTEGERS
        if (weak or abs(found.samples) > self._max_delay) and (facts.steps or loud):  # these explain the failure
            raise DataError(f"{wet}: {next(faults(facts, self.sample_rate))}")
        if weak:
            raise DataError(
                f"{wet}: its delay to {dry} could not be measured, because the two have little in common. "
                f"Check that wet is not another take.{self._fitting_channel(length)} If you know the delay, set "
                "data.delay."
            )
        if abs(found.samples) > self._max_delay:
            allowed = 100 * math.ceil((abs(milliseconds) + 20) / 100)
            way = "lags" if found.samples > 0 else "is ahead of"
            raise DataError(
                f"{wet}: {way} its dry file by {abs(found.samples):,.0f} samples ({abs(milliseconds):,.0f} ms), more "
                f"than data.max_delay_ms allows. Set data.max_delay_ms to {allowed}."
            )
        delay = whole_delay(facts)
        exact = facts.certain or delay == round(found.samples)
        why = "" if exact else ", where the effect's response begins at the latest"
        return delay, (
            f"{wet}: lags its dry file by {found.samples:.2f} samples ({milliseconds:.2f} ms, confidence "
            f"{found.confidence:.2f}); {delay} samples were removed (data.delay){why}."
        )

    def _fitting_channel(self, length: int) -> str:
        """Return the advice to set another channel of the wet file that matches the dry file; empty if none does."""
        for channel in sounding_channels(self._paths[1], self._channels[1]):
            facts = self._examined(self._source(0, 0, length), self._source(1, 0, length, channel))
            if facts.delay.confidence >= _ENOUGH_FAR:
                return f" Channel {channel} of it fits: set {self._wet_setting} to {channel}."
        return ""

    def _trimmed(self, dry_rest: int, wet_rest: int) -> Iterator[str]:
        """Yield the note about the skipped end of the longer file, for the samples that each has after alignment.

        Raises:
            DataError: if nothing is left in common, or less than half of the longer file, whose end is not silent.
        """
        shared, longest = min(dry_rest, wet_rest), max(dry_rest, wet_rest)
        if shared == longest:
            return
        role = 1 if wet_rest > dry_rest else 0
        if shared <= 0:
            total = self._source(1 - role).num_samples
            raise DataError(
                f"{self._paths[1 - role]}: has {total:,} samples, and data.delay removes {total - shared:,} of them. "
                "Set a shorter data.delay."
            )
        if shared < _LEAST_SHARED * longest and not self._is_silent(role, longest - shared):
            raise DataError(
                f"{self._paths[1]}: has {wet_rest:,} samples after alignment, its dry file {self._paths[0]} has "
                f"{dry_rest:,}. Cut both to the same length, so that they begin together."
            )
        rest = longest - shared
        yield (
            f"{self._paths[role]}: the last {rest} samples ({rest / self.sample_rate:.2f} s) exceed the other file and "
            "are skipped."
        )

    def _is_silent(self, role: int, rest: int) -> bool:
        total = self._source(role).num_samples
        return measure_levels(self._source(role, total - rest, rest))[0].swing < SILENT
