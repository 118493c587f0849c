"""Recordings in the layout of the ToneTwist AFx data set (Comunità et al.)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nablafx_core.controls import Control
from nablafx_core.data.checks import PairFacts, examine_files, faults, odd_ones, remarks, same_length
from nablafx_core.data.recording import Dataset, Part, Recording
from nablafx_core.data.sources import WavSource
from nablafx_core.errors import DataError
from nablafx_data.device_file import default_knobs, parse_setting, read_knobs, write_knobs
from nablafx_data.markers import music_between_markers

DEVICE_FILE = "device.yaml"

_DRY_FOLDERS = ("DRY", "DRY-with-markers")
_PARTS: dict[str, Part] = {
    "trainval": "trainval",
    "train": "train",
    "val": "validation",
    "validation": "validation",
    "test": "test",
}
_LAYOUT = "DEVICE/{trainval,test}/SETTING/SETTING.NAME.target.wav beside DRY/{trainval,test}/NAME.input.wav"


@dataclass(frozen=True)
class _Pair:
    folder: str
    setting: str
    source: str
    dry: Path
    wet: Path

    @property
    def name(self) -> str:
        return self.wet.name.removesuffix(".target.wav")

    @property
    def part(self) -> Part:
        # Data from elsewhere calls its dry files train.input.wav and val.input.wav.
        return _PARTS.get(self.source, "trainval") if self.folder == "trainval" else _PARTS[self.folder]


class ToneTwist(Dataset):
    """Dry files and what a device made of them, one folder per setting of its knobs.

    ``PATH/DRY/{trainval,test}/NAME.input.wav`` and
    ``PATH/DEVICE/{trainval,test}/SETTING/SETTING.NAME.target.wav``; a folder of categories (``ANALOG/``) may stand
    between. SETTING is ``D050_T100``: a letter per knob and its position in hundredths. ``DEVICE/device.yaml`` names
    the knobs (see `nablafx_data.device_file`); without it they are called as their letters, from 0 to 10. Files are
    paired by name. Recordings of one setting only have no knobs unless ``device.yaml`` names some.

    Sync impulses at the ends of the dry files are found and left out.

    Args:
        path: folder that holds the device's folder.
        device: its name, or its path below `path`.
        dry: folder of the dry files; DRY or DRY-with-markers if not given.
        sample_rate: Hz to resample to; the files' own if not given.
        setting: use this setting only, such as D050_T100, and no knobs.
        delay: samples by which every wet file lags its dry one, taken out; negative if it is ahead.
        check: refuse pairs that are silent, shifted, drifting or upside down; if false, note them only.

    Raises:
        DataError: if files are missing, do not fit each other or cannot be used.
    """

    def __init__(
        self,
        path: str,
        device: str,
        dry: str | None = None,
        sample_rate: int | None = None,
        setting: str | None = None,
        delay: int = 0,
        check: bool = True,
    ) -> None:
        self.folder = _device_folder(Path(path), device)
        dry_folder = _dry_folder(Path(path), self.folder, dry)
        pairs = [pair for pair in _pairs(self.folder, dry_folder) if setting in (None, pair.setting)]
        if not pairs:
            wanted = f"of setting {setting} " if setting else ""
            raise DataError(f"{self.folder}: no recordings {wanted}were found. The layout is {_LAYOUT}.")
        rates = {pair.name: same_length(pair.dry, pair.wet).sample_rate for pair in pairs}
        if sample_rate is None and len(set(rates.values())) > 1:
            raise DataError(f"{self.folder}: rates differ: {sorted(set(rates.values()))} Hz. Set data.sample_rate.")
        self.sample_rate = sample_rate or next(iter(rates.values()))
        self.knobs = self._knobs(pairs, setting is not None)
        self.controls = tuple(self.knobs.values())
        self.recordings = tuple(self._recordings(pairs, delay))
        self.notes = (*_uncovered(pairs, dry_folder), *self._constant(pairs), *self._checked(pairs, delay, check))

    def write_device_yaml(self, path: str | os.PathLike[str] | None = None) -> None:
        """Write the knobs down for a person to name, as ``device.yaml`` in the device's folder unless `path` is given.

        Raises:
            DataError: if the file exists.
        """
        write_knobs(path or self.folder / DEVICE_FILE, self.knobs)

    def _knobs(self, pairs: list[_Pair], one_setting: bool) -> dict[str, Control]:
        letters = {pair.setting: tuple(parse_setting(pair.setting) or ()) for pair in pairs}
        first = next(iter(letters.values()))
        if other := next((setting for setting, own in letters.items() if own != first), None):
            raise DataError(f"{self.folder}: settings {pairs[0].setting} and {other} do not name the same knobs.")
        described = self.folder / DEVICE_FILE
        if one_setting:
            return {}
        if not described.is_file():
            return default_knobs(first) if len(letters) > 1 else {}
        knobs = read_knobs(described)
        if set(knobs) != set(first):
            raise DataError(f"{described}: describes {', '.join(knobs)}; the files are named {', '.join(first)}.")
        return knobs

    def _recordings(self, pairs: list[_Pair], delay: int) -> Iterator[Recording]:
        dry_sources: dict[Path, WavSource] = {}
        spans: dict[Path, tuple[int, int]] = {}
        for pair in pairs:
            if pair.dry not in dry_sources:
                dry_sources[pair.dry] = self._source(pair.dry, max(-delay, 0), abs(delay))
                spans[pair.dry] = music_between_markers(dry_sources[pair.dry], self.sample_rate)
            positions = parse_setting(pair.setting) or {}
            yield Recording(
                pair.name,
                dry_sources[pair.dry],
                self._source(pair.wet, max(delay, 0), abs(delay)),
                pair.source,
                tuple(positions[letter] for letter in self.knobs),
                pair.part,
                *spans[pair.dry],
            )

    def _source(self, path: Path, offset: int, cut: int) -> WavSource:
        whole = WavSource(path, sample_rate=self.sample_rate)
        return WavSource(path, sample_rate=self.sample_rate, offset=offset, num_samples=whole.num_samples - cut)

    def _constant(self, pairs: list[_Pair]) -> Iterator[str]:
        for index, control in enumerate(self.controls):
            positions = {recording.controls[index] for recording in self.recordings}
            if len(positions) == 1:
                yield f"knob {control.name} stands at {positions.pop():.2f} in every recording; no model can learn it."

    def _checked(self, pairs: list[_Pair], delay: int, refuse: bool) -> Iterator[str]:
        facts: dict[str, PairFacts] = {}
        files = {pair.name: pair for pair in pairs}
        for recording in self.recordings:
            pair = files[recording.name]
            facts[recording.name] = examine_files(
                pair.dry, pair.wet, recording.dry, recording.wet, self.sample_rate // 2, (self.sample_rate, delay)
            )
        wrong = [(name, fault) for name, fact in facts.items() for fault in faults(fact, self.sample_rate)]
        blamed = {name for name, _ in wrong}
        wrong += [(name, fault) for name, fault in odd_ones(facts) if name not in blamed]
        complaints = [f"{files[name].wet.parent}: {files[name].wet.name} {fault}" for name, fault in wrong]
        if complaints and refuse:
            raise DataError(
                "\n".join(complaints) + "\ndata.delay shifts all pairs alike; data.check: false takes them as they are."
            )
        yield from complaints
        yield from (f"{files[name].wet.name} {remark}" for name, fact in facts.items() for remark in remarks(fact))
        yield from _lag(facts, self.sample_rate)


def _lag(facts: dict[str, PairFacts], sample_rate: int) -> Iterator[str]:
    delays = sorted(fact.delay.samples for fact in facts.values() if fact.delay.confidence >= 0.6)
    if delays and abs(delays[len(delays) // 2]) >= 1:
        middle = delays[len(delays) // 2]
        yield (
            f"wet lags dry by {delays[0]:.1f} to {delays[-1]:.1f} samples, mostly {middle:.1f} "
            f"({1000 * middle / sample_rate:.2f} ms); data.delay takes such a delay out."
        )
    inverted = [name for name, fact in facts.items() if fact.delay.inverted and fact.delay.confidence >= 0.6]
    if inverted:
        yield f"the effect inverts the polarity in {len(inverted)} of {len(facts)} recordings."


def _device_folder(path: Path, device: str) -> Path:
    for folder in (path / device, *sorted(path.glob(f"*/{device}"))):
        if any((folder / part).is_dir() for part in _PARTS):
            return folder
    if not path.is_dir():
        raise DataError(f"{path}: there is no such folder.")
    parents = {inner.parent for part in _PARTS for inner in (*path.glob(f"*/{part}"), *path.glob(f"*/*/{part}"))}
    there = sorted(str(folder.relative_to(path)) for folder in parents if folder.name not in _DRY_FOLDERS)
    raise DataError(
        f"{path}: has no device '{device}'. Devices: {', '.join(there) or 'none'}. The layout is {_LAYOUT}."
    )


def _dry_folder(path: Path, device_folder: Path, dry: str | None) -> Path:
    names = _DRY_FOLDERS if dry is None else (dry,)
    tried = [base / name for name in names for base in (device_folder.parent, path)]
    for folder in tried:
        if folder.is_dir():
            return folder
    raise DataError(f"{tried[0]}: there is no folder of dry files. Name it with data.dry.")


def _pairs(device_folder: Path, dry_folder: Path) -> Iterator[_Pair]:
    for folder in _PARTS:
        for wet in sorted((device_folder / folder).rglob("*.target.wav")):
            setting, _, source = wet.name.removesuffix(".target.wav").partition(".")
            if not source or parse_setting(setting) is None:
                setting, source = "", wet.name.removesuffix(".target.wav")
            dry = dry_folder / folder / f"{source}.input.wav"
            if not dry.is_file():
                raise DataError(f"{wet.parent}: {wet.name} has no dry file; {dry} is missing.")
            yield _Pair(folder, setting, source, dry, wet)


def _uncovered(pairs: list[_Pair], dry_folder: Path) -> Iterator[str]:
    """Dry files that were not recorded at all, or not at every setting of their part."""
    for folder in sorted({pair.folder for pair in pairs}):
        settings = {pair.setting for pair in pairs if pair.folder == folder}
        for dry in sorted((dry_folder / folder).glob("*.input.wav")):
            missing = settings - {pair.setting for pair in pairs if pair.dry == dry}
            if missing == settings:
                yield f"{folder}/{dry.name}: the device has no recording of it; left out."
            elif missing:
                yield f"{folder}/{dry.name}: has no recording at {', '.join(sorted(missing))}."
