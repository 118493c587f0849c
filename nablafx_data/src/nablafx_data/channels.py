"""Files with several channels, of which one is used."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nablafx_core.audio.reading import probe
from nablafx_core.data.levels import SILENT, measure_levels
from nablafx_core.data.sources import WavSource
from nablafx_core.errors import DataError

_EACH = 4


def chosen_channels(
    paths: Iterable[Path], channel: int, setting: str = "data.channel"
) -> tuple[dict[Path, int], tuple[str, ...]]:
    """Choose the channel of each file: `channel` of files with several, the only one of the others.

    Args:
        paths: of audio files.
        channel: counted from 0.
        setting: name of the setting that selects it.

    Returns:
        The channels by file, and notes that say what was chosen.

    Raises:
        DataError: if a file with several channels, or every file, has no such channel.
    """
    counts = {path: probe(path).channels for path in paths}
    several = [path for path, count in counts.items() if count > 1]
    for path in several or counts:
        if not 0 <= channel < counts[path]:
            raise DataError(f"{path}: has no channel {channel}; it has {counts[path]}, counted from 0.")
    notes = [f"{path}: has {counts[path]} channels; channel {channel} is used ({setting})." for path in several]
    if len(notes) > _EACH:
        notes = [f"{several[0]} and {len(several) - 1} more have several channels; channel {channel} is used of each."]
        notes[0] += f" {setting} chooses another."
    return {path: channel if count > 1 else 0 for path, count in counts.items()}, tuple(notes)


def sounding_channels(path: Path, but: int) -> dict[int, float]:
    """Return the channels of a file that are not silent, with their peaks.

    Args:
        path: path of an audio file.
        but: channel to leave out, counted from 0.
    """
    others = [channel for channel in range(probe(path).channels) if channel != but]
    measured = {channel: measure_levels(WavSource(path, channel=channel))[0] for channel in others}
    return {channel: signal.peak for channel, signal in measured.items() if signal.swing >= SILENT}


def sounding_elsewhere(path: Path, but: int, setting: str = "data.channel") -> str:
    """Name the channel of a file that has a signal if the selected one is silent; empty if there is none."""
    for channel, peak in sounding_channels(path, but).items():
        return f" Channel {channel} has a signal (peak {peak:.2g}); channel {but} was read. Set {setting} to {channel}."
    return ""
