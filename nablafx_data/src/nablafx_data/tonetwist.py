"""Recordings in the layout of the ToneTwist AFx data set (Comunità et al.)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from nablafx_core.audio.reading import AudioInfo
from nablafx_core.controls import Control
from nablafx_core.data.cache import resampled_file
from nablafx_core.data.checks import faults, odd_ones, remarks, same_length, silence
from nablafx_core.data.facts import PairFacts, examine_files
from nablafx_core.data.levels import SILENT
from nablafx_core.data.sources import WavSource
from nablafx_core.errors import DataError
from nablafx_core.interfaces import Dataset, Recording
from nablafx_core.parallel import mapped
from nablafx_data.channels import chosen_channels, sounding_elsewhere
from nablafx_data.device_file import SETTING, default_knobs, parse_setting, read_knobs, write_knobs
from nablafx_data.layout import (
    LAYOUT,
    WetFile,
    device_folder,
    dry_folder,
    notes_on_unrecorded,
    recording_names,
    wet_files,
)
from nablafx_data.markers import music_between_markers

DEVICE_FILE = "device.yaml"


class ToneTwist(Dataset):
    """Dry files and recordings of a device, with one folder per setting of its knobs.

    ``PATH/DRY/{trainval,test}/NAME.input.wav`` and
    ``PATH/DEVICE/{trainval,test}/SETTING/SETTING.NAME.target.wav``; DEVICE may be in a folder of categories
    (``ANALOG/``). Folders ``train``, ``val`` and ``validation`` divide the training themselves. SETTING is
    ``D050_T100``: a letter per knob and its position in hundredths. ``DEVICE/device.yaml`` describes the knobs (see
    `nablafx_data.device_file`); without it they are named by their letters, from 0 to 10. Files are paired by name. If
    there is a single setting, there are no knobs unless ``device.yaml`` describes some.

    Sync impulses at the ends of the dry files are detected and skipped. One channel of files with several is used.

    Args:
        path: folder that contains the device's folder, directly or in a folder of categories.
        device: name of the device's folder, or its path below `path`.
        dry: name of the folder of the dry files, beside the device's folder or in `path`; DRY, else DRY-with-markers,
            if not given.
        sample_rate: sample rate in Hz to resample to; that of the files, which must be equal, if not given.
        setting: use only this setting, such as D050_T100, without knobs; all settings if not given.
        delay: number of samples, at `sample_rate`, by which every wet file lags its dry file, which are removed;
            negative if it is ahead.
        channel: channel of files with several, counted from 0.
        check: reject recordings with a fault, such as silence, another take, a shift, a drift, or the opposite polarity
            of the others; if false, only note it.

    Raises:
        DataError: if files are missing, do not match or are invalid, or if the check finds a fault.
    """

    def __init__(
        self,
        path: str,
        device: str,
        dry: str | None = None,
        sample_rate: int | None = None,
        setting: str | None = None,
        delay: int = 0,
        channel: int = 0,
        check: bool = True,
    ) -> None:
        self.folder = device_folder(Path(path), device)
        dry_files = dry_folder(Path(path), self.folder, dry)
        files = [file for file in wet_files(self.folder, dry_files) if setting in (None, file.setting)]
        if not files:
            wanted = f"of setting {setting} " if setting else ""
            raise DataError(f"{self.folder}: no recordings {wanted}were found. The layout is {LAYOUT}.")
        opened = mapped(lambda file: same_length(file.dry, file.wet), files, f"Opening {len(files):,} recordings")
        rates = {info.sample_rate for info in opened}
        if sample_rate is None and len(rates) > 1:
            raise DataError(f"{self.folder}: its sample rates differ: {sorted(rates)} Hz. Set data.sample_rate.")
        self.sample_rate = next(iter(rates)) if sample_rate is None else sample_rate
        self.knobs = self._knobs(files, setting is not None)
        self.controls = tuple(self.knobs.values())
        self._channels, chosen = chosen_channels((path for file in files for path in (file.dry, file.wet)), channel)
        self.recordings = tuple(self._recordings(files, delay, opened))
        self.notes = (
            *chosen,
            *notes_on_unrecorded(files, dry_files),
            *self._constant(),
            *self._checked(files, delay, check),
        )

    def write_device_yaml(self, path: str | os.PathLike[str] | None = None) -> None:
        """Write a ``device.yaml`` with the knobs, for the user to edit.

        Args:
            path: path of the file; if None, ``device.yaml`` in the device's folder, where this dataset looks for it.

        Raises:
            DataError: if the file exists or cannot be written.
        """
        write_knobs(path or self.folder / DEVICE_FILE, self.knobs)

    def _knobs(self, files: list[WetFile], one_setting: bool) -> dict[str, Control]:
        first = tuple(parse_setting(files[0].setting) or ())
        for file in files:
            if set(parse_setting(file.setting) or ()) != set(first):
                raise DataError(f"{self.folder}: {_unlike(files[0], file)}")
        described = self.folder / DEVICE_FILE
        if one_setting:
            return {}
        if not described.exists():
            return default_knobs(first) if len({file.setting for file in files}) > 1 else {}
        knobs = read_knobs(described)
        if set(knobs) != set(first):
            raise DataError(
                f"{described}: describes {', '.join(knobs) or 'no knobs'}; the files are named "
                f"{', '.join(first) or 'without knobs'}. Describe each letter of the file names, and no other."
            )
        return knobs

    def _recordings(self, files: list[WetFile], delay: int, opened: list[AudioInfo]) -> Iterator[Recording]:
        dry_sources: dict[Path, WavSource] = {}
        spans: dict[Path, tuple[int, int]] = {}
        names = recording_names(files)
        if any(info.sample_rate != self.sample_rate for info in opened):
            paths = sorted({path for file in files for path in (file.dry, file.wet)})
            mapped(lambda path: resampled_file(path, self.sample_rate), paths, f"Resampling {len(paths):,} files")
        for file in files:
            if file.dry not in dry_sources:
                dry_sources[file.dry] = self._source(file.dry, max(-delay, 0), abs(delay))
                spans[file.dry] = music_between_markers(dry_sources[file.dry], self.sample_rate)
            positions = parse_setting(file.setting) or {}
            yield Recording(
                names[file.wet],
                dry_sources[file.dry],
                self._source(file.wet, max(delay, 0), abs(delay)),
                file.source,
                tuple(positions[letter] for letter in self.knobs),
                file.part,
                *spans[file.dry],
                offset=max(-delay, 0),
            )

    def _source(self, path: Path, offset: int, cut: int) -> WavSource:
        channel, rate = self._channels[path], self.sample_rate
        length = WavSource(path, channel=channel, sample_rate=rate).num_samples
        if cut >= length:
            raise DataError(
                f"{path}: has {length:,} samples, and data.delay removes {cut:,} of them. Set a shorter data.delay."
            )
        return WavSource(path, channel=channel, sample_rate=rate, offset=offset, num_samples=length - cut)

    def _constant(self) -> Iterator[str]:
        for index, control in enumerate(self.controls):
            positions = {recording.controls[index] for recording in self.recordings}
            if len(positions) == 1:
                yield f"knob {control.name} is at {positions.pop():.2f} in every recording; no model can learn it."

    def _checked(self, files: list[WetFile], delay: int, refuse: bool) -> Iterator[str]:
        by_name = {recording.name: file for recording, file in zip(self.recordings, files, strict=True)}

        def examined(pair: tuple[Recording, WetFile]) -> PairFacts:
            recording, file = pair
            return examine_files(
                file.dry,
                file.wet,
                recording.dry,
                recording.wet,
                self.sample_rate // 2,
                self.sample_rate,
                (delay, self._channels[file.dry], self._channels[file.wet]),
            )

        pairs = list(zip(self.recordings, files, strict=True))
        results = mapped(examined, pairs, f"Examining {len(pairs):,} recordings")
        facts = {recording.name: fact for (recording, _), fact in zip(pairs, results, strict=True)}
        wrong = [(name, fault) for name, fact in facts.items() for fault in faults(fact, self.sample_rate)]
        blamed = {name for name, _ in wrong}
        wrong += [(name, fault) for name, fault in odd_ones(facts) if name not in blamed]
        complaints = [
            f"{by_name[name].wet.parent}: {by_name[name].wet.name} {fault}{self._elsewhere(facts[name], by_name[name])}"
            for name, fault in wrong
        ]
        if complaints and refuse:
            raise DataError(
                "\n".join(complaints) + "\nSet data.delay to shift all pairs, or data.check to false to accept them."
            )
        yield from complaints
        yield from (
            f"{by_name[name].wet.name} {remark}"
            for name, fact in facts.items()
            for remark in remarks(fact, self.sample_rate)
        )
        yield from _lag(facts, self.sample_rate)

    def _elsewhere(self, facts: PairFacts, file: WetFile) -> str:
        """Return the advice to set another channel, if the selected one is silent and another is not; else empty."""
        if not next(silence(facts), None):
            return ""
        path = file.dry if facts.dry.swing < SILENT else file.wet
        return sounding_elsewhere(path, self._channels[path])


def _unlike(one: WetFile, other: WetFile) -> str:
    """Return the sentence that says why the names of two recordings cannot be of the same device."""
    if one.setting and other.setting:
        different = f"settings {one.setting} and {other.setting} do not name the same knobs."
        return f"{different} Every setting must name every knob of the device."
    bare, named = (one, other) if other.setting else (other, one)
    return f"{bare.wet.name} in {bare.wet.parent} has no setting in its name, and {named.wet.name} has one. {SETTING}"


#: Confidence from which a delay or a polarity is reported.
_CONFIDENT = 0.6


def _lag(facts: dict[str, PairFacts], sample_rate: int) -> Iterator[str]:
    delays = sorted(fact.delay.samples for fact in facts.values() if fact.delay.confidence >= _CONFIDENT)
    if delays and abs(delays[len(delays) // 2]) >= 1:
        middle = delays[len(delays) // 2]
        yield (
            f"wet lags dry by {delays[0]:.1f} to {delays[-1]:.1f} samples, mostly {middle:.1f} "
            f"({1000 * middle / sample_rate:.2f} ms). Set data.delay to remove it."
        )
    inverted = [name for name, fact in facts.items() if fact.delay.inverted and fact.delay.confidence >= _CONFIDENT]
    if inverted:
        yield f"the effect inverts the polarity in {len(inverted)} of {len(facts)} recordings."
