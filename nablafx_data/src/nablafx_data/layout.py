"""The ToneTwist layout, which assigns a dry file and a setting of the knobs to each wet file."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nablafx_core.errors import DataError
from nablafx_core.interfaces import Part
from nablafx_data.device_file import SETTING, parse_setting

LAYOUT = "DEVICE/{trainval,test}/SETTING/SETTING.NAME.target.wav beside DRY/{trainval,test}/NAME.input.wav"

DRY, WET = ".input.wav", ".target.wav"

_DRY_FOLDERS = ("DRY", "DRY-with-markers")
_PARTS: dict[str, Part] = {
    "trainval": "trainval",
    "train": "train",
    "val": "validation",
    "validation": "validation",
    "test": "test",
}
# One letter per knob, so that a folder such as take001 is not a setting.
_SETTING_FOLDER = re.compile(r"[A-Za-z]\d{3}(_[A-Za-z]\d{3})*")


@dataclass(frozen=True)
class WetFile:
    """A wet file, with the setting and the dry file that its name and folder give.

    Args:
        folder: name of the folder of its part: trainval, train, val, validation or test.
        setting: setting of the knobs, such as ``"D050_T100"``; empty if there is none.
        source: name of its dry file without ``.input.wav``, composed (Unicode NFC).
        dry, wet: paths of both files.
    """

    folder: str
    setting: str
    source: str
    dry: Path
    wet: Path

    @property
    def name(self) -> str:
        """Name of the file without ``.target.wav``, composed (Unicode NFC), because macOS writes decomposed names."""
        return _stem(self.wet.name, WET)

    @property
    def part(self) -> Part:
        """Part of the split that its folder names; in ``trainval``, the part that its dry file's name is, if any."""
        # Some data sets name their dry files train.input.wav and val.input.wav.
        return _PARTS.get(self.source, "trainval") if self.folder == "trainval" else _PARTS[self.folder]


def device_folder(path: Path, device: str) -> Path:
    """Find the folder of a device: in `path`, or in a folder of categories there; it must contain a part's folder.

    Args:
        path: folder of the data set.
        device: name of the device's folder, or its path below `path`.

    Raises:
        DataError: if `path` is missing or cannot be read, or has no such device; the message names the devices found.
    """
    if not os.path.isdir(path):
        raise DataError(f"{path}: there is no such folder.")
    for folder in (path / device, *(Path(category.path) / device for category in _entries(path))):
        if any(os.path.isdir(folder / part) for part in _PARTS):
            return folder
    parents = {inner.parent for part in _PARTS for inner in (*path.glob(f"*/{part}"), *path.glob(f"*/*/{part}"))}
    there = sorted(
        str(folder.relative_to(path)) for folder in parents if folder.name not in _DRY_FOLDERS and folder.name[0] != "."
    )
    raise DataError(f"{path}: has no device '{device}'. Devices: {', '.join(there) or 'none'}. The layout is {LAYOUT}.")


def dry_folder(path: Path, device: Path, dry: str | None) -> Path:
    """Find the folder of the dry files: beside the device's folder, else in `path`.

    Args:
        path: folder of the data set.
        device: folder of the device.
        dry: name of the folder; if None, ``DRY``, else ``DRY-with-markers``.

    Raises:
        DataError: if there is no such folder.
    """
    names = _DRY_FOLDERS if dry is None else (dry,)
    tried = [base / name for name in names for base in (device.parent, path)]
    for folder in tried:
        if os.path.isdir(folder):
            return folder
    raise DataError(f"{tried[0]}: there is no folder of dry files. Name it with data.dry.")


def wet_files(device: Path, dry: Path) -> list[WetFile]:
    """List the recordings of all parts in a device's folder, with their dry files.

    Args:
        device: folder of the device.
        dry: folder of the dry files, which has a folder for each part, too.

    Raises:
        DataError: if one has no dry file or an invalid setting, two of a part have the same source and setting, or a
            folder cannot be read.
    """
    found: dict[tuple[str, str, str], WetFile] = {}
    for folder in _PARTS:
        dry_files = _dry_files(dry / folder)
        for wet in sorted(files_below(device / folder, WET)):
            setting, source = _setting_and_source(wet, device / folder, dry / folder, dry_files)
            file = WetFile(folder, setting, source, dry_files[source], wet)
            other = found.setdefault((folder, setting, source), file)
            if other is not file and not os.path.samefile(other.wet, wet):
                at = f"at {setting}" if setting else "without a setting"
                raise DataError(
                    f"{wet.parent}: {wet.name} and {other.wet} are both {source} {at}. Rename one. {SETTING}"
                )
    return list(found.values())


def files_below(folder: Path, ending: str) -> Iterator[Path]:
    """Yield the files whose names end in `ending`, in any case, in a folder and its subfolders, without hidden ones.

    Symbolic links are followed, except to a folder that contains the link itself.

    Raises:
        DataError: if a folder cannot be read.
    """
    if os.path.isdir(folder):
        real = Path(os.path.realpath(folder))
        yield from _files_below(folder, ending, {real, *real.parents})


def _files_below(folder: Path, ending: str, above: set[Path]) -> Iterator[Path]:
    for entry in _entries(folder):
        if entry.is_dir():
            real = Path(os.path.realpath(entry.path))
            if real not in above:
                yield from _files_below(Path(entry.path), ending, {*above, real})
        elif entry.name.lower().endswith(ending):
            yield Path(entry.path)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """List a folder, sorted by name, without hidden files, such as ``._x.wav`` of macOS; DataError if unreadable."""
    try:
        return sorted((entry for entry in os.scandir(folder) if not entry.name.startswith(".")), key=lambda e: e.name)
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror}.") from error


def _dry_files(folder: Path) -> dict[str, Path]:
    """Return the dry files of a part by their names without ``.input.wav``; none if the folder is missing."""
    entries = _entries(folder) if os.path.isdir(folder) else []
    return {
        _stem(entry.name, DRY): Path(entry.path)
        for entry in entries
        if entry.name.lower().endswith(DRY) and entry.is_file()
    }


def _stem(name: str, ending: str) -> str:
    return unicodedata.normalize("NFC", name[: -len(ending)])


def recording_names(files: list[WetFile]) -> dict[Path, str]:
    """Return a name for each wet file: its own, after its part's folder and "/" if several files have that name."""
    counts = Counter(file.name for file in files)
    return {file.wet: file.name if counts[file.name] == 1 else f"{file.folder}/{file.name}" for file in files}


def _setting_and_source(wet: Path, part: Path, dry: Path, dry_files: dict[str, Path]) -> tuple[str, str]:
    """Return setting and source of a wet file. The setting is in its name, else in its folder's name, else empty.

    Raises:
        DataError: if the two settings differ, a setting is invalid, or the dry file is missing.
    """
    name = _stem(wet.name, WET)
    prefix, _, source = name.partition(".")
    place = wet.parent.name if wet.parent != part and _SETTING_FOLDER.fullmatch(wet.parent.name) else ""
    own = _parsed(wet, prefix) if source else None
    if own is not None:
        if place and (there := _parsed(wet, place)) and there.keys() == own.keys() and there != own:
            raise DataError(
                f"{wet.parent}: {wet.name} has another setting in its name than its folder. Rename one of them."
            )
        setting = prefix
    elif source and name not in dry_files and source in dry_files:
        raise DataError(f"{wet.parent}: {wet.name}: the setting '{prefix}' cannot be read. {SETTING}")
    else:
        setting, source = place if place and _parsed(wet, place) else "", name
    if source not in dry_files:
        raise DataError(f"{wet.parent}: {wet.name} has no dry file; {dry / f'{source}.input.wav'} is missing.")
    return setting, source


def _parsed(wet: Path, text: str) -> dict[str, float] | None:
    try:
        return parse_setting(text)
    except DataError as error:
        raise DataError(f"{wet.parent}: {wet.name}: {error}") from None


def notes_on_unrecorded(files: list[WetFile], dry: Path) -> Iterator[str]:
    """Yield a note for each dry file that was not recorded, or not at every setting of its part.

    Args:
        files: all wet files.
        dry: folder of the dry files.
    """
    covered: dict[Path, set[str]] = {}
    for file in files:
        covered.setdefault(file.dry, set()).add(file.setting)
    for folder in sorted({file.folder for file in files}):
        settings = {file.setting for file in files if file.folder == folder}
        for path in _dry_files(dry / folder).values():
            missing = settings - covered.get(path, set())
            if missing == settings:
                yield f"{folder}/{path.name}: the device has no recording of it; it is skipped."
            elif missing:
                yield f"{folder}/{path.name}: has no recording at {', '.join(sorted(missing))}."
