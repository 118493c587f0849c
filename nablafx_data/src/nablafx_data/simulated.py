"""Recordings of a simulated device at selected settings of its knobs."""

from __future__ import annotations

import itertools
import math
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import yaml

from nablafx_core.audio.reading import RATES, write
from nablafx_core.controls import Control
from nablafx_core.errors import ConfigError, DataError, ModelError
from nablafx_core.interfaces import Device
from nablafx_core.marks import Named
from nablafx_core.names import names_match, short_name
from nablafx_core.registry.building import build
from nablafx_core.yaml import plain_yaml
from nablafx_data.device_file import format_setting, write_knobs
from nablafx_data.plucked import music
from nablafx_data.tonetwist import DEVICE_FILE, ToneTwist

#: File that contains the settings of a rendered folder.
MANIFEST = "simulated.yaml"

#: Number of dry files for training; each is another piece, so that key, register and tempo vary.
_TRAINING_FILES = 4
# Limits that catch a mistyped setting before it fills the disk.
_LONGEST_S = 36_000.0
_MOST_RECORDINGS = 10_000


class Simulated(ToneTwist):
    """Plucked strings through a registered device, rendered once into a folder in the ToneTwist layout.

    There are four dry files for training and one with other music for the test. The training contains every combination
    of the knobs' positions. The test also contains settings half-way between two neighbours (all knobs moved together),
    which the training does not contain. A folder that was rendered with the same settings is reused.

    Args:
        path: folder to render into; it must be missing, empty, or rendered with the same settings.
        device: name of a registered device, such as diode_clipper.
        seconds: total length of the training files at each setting, in s, 1 to 36,000; the test file has a quarter of
            it.
        num_settings: number of positions of each knob, evenly spaced over its turn, 1 to 101; a switch takes all its
            positions; 1 leaves all at their defaults.
        settings: positions of single knobs instead, by name, in their units: {drive: [0, 20, 40]}.
        seed: seed of the music, 0 or more.
        sample_rate: sample rate in Hz, 1,000 to 1,000,000.

    Raises:
        DataError: if a setting is invalid, the folder contains something else or cannot be written, or a knob or
            position does not exist.
        RegistryError: if there is no such device.
    """

    def __init__(
        self,
        path: str,
        device: Annotated[str, Named("device")] = "nablafx-dsp/diode_clipper",
        seconds: float = 60.0,
        num_settings: int = 3,
        settings: dict[str, list[float | str]] | None = None,
        seed: int = 0,
        sample_rate: int = 48000,
    ) -> None:
        _check_settings(seconds, num_settings, seed, sample_rate)
        manifest = {
            "version": 1,
            "device": device,
            "seconds": float(seconds),
            "num_settings": num_settings,
            "settings": settings or {},
            "seed": seed,
            "sample_rate": sample_rate,
        }
        if not _rendered(Path(path), manifest):
            _render_whole(Path(path), manifest)
        super().__init__(path, _folder_name(device))


def _check_settings(seconds: float, num_settings: int, seed: int, sample_rate: int) -> None:
    if not 1 <= seconds <= _LONGEST_S:
        raise DataError(f"data.seconds must be 1 to {_LONGEST_S:,.0f}, got {seconds:g}.")
    if not 1 <= num_settings <= 101:
        raise DataError(f"data.num_settings must be 1 to 101, got {num_settings}: positions are in hundredths.")
    if seed < 0:
        raise DataError(f"data.seed must be 0 or more, got {seed}.")
    if sample_rate not in RATES:
        raise DataError(
            f"data.sample_rate must be a whole number from {RATES[0]:,} to {RATES[-1]:,} Hz, got {sample_rate}."
        )


def _folder_name(device: str) -> str:
    return short_name(device).rpartition(":")[2]


def _rendered(path: Path, manifest: Mapping[str, Any]) -> bool:
    """Return true if the folder was rendered with these settings, false if it is missing or empty.

    Raises:
        DataError: if it contains anything else.
    """
    if not os.path.exists(path) or (path.is_dir() and not any(path.iterdir())):
        return False
    try:
        there = plain_yaml((path / MANIFEST).read_bytes(), str(path / MANIFEST), "a manifest")
    except (OSError, ConfigError) as error:
        raise DataError(
            f"{path}: does not contain simulated data, or is damaged ({_reason(error).rstrip('.')}). "
            "Choose another data.path, or delete it."
        ) from None
    found = there if isinstance(there, dict) else {}
    if names_match(str(found.get("device")), manifest["device"]):  # older folders name the device without its pack
        found = {**found, "device": manifest["device"]}
    if found != manifest:
        differing = ", ".join(f"{key} {found.get(key)!s:.40}" for key in manifest if found.get(key) != manifest[key])
        raise DataError(
            f"{path}: was rendered with other settings ({differing}). Choose another data.path or delete it."
        )
    return True


def _render_whole(path: Path, manifest: Mapping[str, Any]) -> None:
    """Render to a temporary folder beside `path` and rename it, so that an existing folder is complete.

    Raises:
        DataError: if it cannot be written, or the settings do not fit the device.
    """
    temporary = path.with_name(f".{path.name[:180]}.{uuid.uuid4().hex}")
    missing = [parent for parent in path.parents if not os.path.exists(parent)]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _render(temporary, manifest)
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
        try:
            os.rename(temporary, path)
        except OSError:
            if not _rendered(path, manifest):  # another process may have rendered the same meanwhile
                raise
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {_reason(error)} Choose another data.path.") from error
    except DataError as error:
        # The temporary folder is deleted below, so the message names the requested one.
        raise DataError(str(error).replace(str(temporary), str(path))) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        for parent in missing:  # delete the folders created for it if they stayed empty
            with suppress(OSError):
                parent.rmdir()


def _reason(error: Exception) -> str:
    return f"{error.strerror}." if isinstance(error, OSError) else str(error)


def _render(path: Path, manifest: Mapping[str, Any]) -> None:
    """Write the dry and wet files, ``device.yaml`` if there are several settings, and then the manifest."""
    device: Device = build("device", manifest["device"])
    positions = list(_positions(device.controls, manifest["num_settings"], manifest["settings"]))
    if (count := math.prod(map(len, positions))) > _MOST_RECORDINGS:
        raise DataError(
            f"{count:,} settings of the knobs are more than {_MOST_RECORDINGS:,}. Lower data.num_settings, "
            "or set data.settings."
        )
    grid = list(itertools.product(*positions))
    unseen = _between(device.controls, positions)
    letters = _letters([control.name for control in device.controls])
    folder = path / _folder_name(manifest["device"])
    for part, names, chosen in (
        ("trainval", [f"strings{number}" for number in range(1, _TRAINING_FILES + 1)], grid),
        ("test", ["strings-test"], list(dict.fromkeys(grid + unseen))),
    ):
        for name in names:
            sample_rate = manifest["sample_rate"]
            random = np.random.default_rng([manifest["seed"], *name.encode()])
            dry = music(manifest["seconds"] / _TRAINING_FILES, sample_rate, random).astype(np.float32)
            _write(path / "DRY" / part / f"{name}.input.wav", dry, sample_rate)
            for values in chosen:
                setting = format_setting(dict(zip(letters, values, strict=True)))
                wet = device.render(dry.astype(np.float64), sample_rate, values)
                file = f"{setting}.{name}.target.wav" if setting else f"{name}.target.wav"
                _write(folder / part / setting / file, wet, sample_rate)
    if len(grid) > 1:
        write_knobs(folder / DEVICE_FILE, dict(zip(letters, device.controls, strict=True)))
    (path / MANIFEST).write_text(yaml.safe_dump(dict(manifest), sort_keys=False), encoding="utf-8")


def _write(path: Path, audio: Any, sample_rate: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, torch.as_tensor(audio, dtype=torch.float32), sample_rate)


def _between(controls: Sequence[Control], positions: Sequence[Sequence[float]]) -> list[tuple[float, ...]]:
    """Return settings half-way between neighbouring positions, all knobs moved together; switches keep a position."""

    def at(control: Control, knob: Sequence[float], step: int) -> float:
        here, there = knob[min(step, len(knob) - 1)], knob[min(step + 1, len(knob) - 1)]
        return here if control.positions else round((here + there) / 2, 2)

    steps = max((len(knob) - 1 for knob in positions), default=0)
    return [tuple(at(*knob, step) for knob in zip(controls, positions, strict=True)) for step in range(steps)]


def _positions(
    controls: Sequence[Control], count: int, chosen: Mapping[str, Sequence[float | str]]
) -> Iterator[tuple[float, ...]]:
    """Yield the positions of each knob in [0, 1], rounded to hundredths as in file names."""
    names = [control.name for control in controls]
    if unknown := [name for name in chosen if name not in names]:
        raise DataError(f"data.settings: the device has no knob '{unknown[0]}'. Knobs: {', '.join(names) or 'none'}.")
    for control in controls:
        if control.name in chosen:
            try:
                values = [control.parse(value) for value in chosen[control.name]]
            except ModelError as error:
                raise DataError(f"data.settings: {error}") from error
            if not values:
                raise DataError(f"data.settings: requires at least one position of '{control.name}'.")
        else:
            values = control.unit_positions(count)
        yield tuple(sorted({round(value, 2) for value in values}))


def _letters(names: Sequence[str]) -> list[str]:
    """Return a letter for each knob: the first unused one of its name, or else of the alphabet."""
    letters: list[str] = []
    for name in names:
        usable = [letter for letter in name.upper() + "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if "A" <= letter <= "Z"]
        letters.append(next(letter for letter in usable if letter not in letters))
    return letters
