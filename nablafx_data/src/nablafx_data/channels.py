"""Select one channel of audio files that have several, and find channels with a signal."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nablafx_core.audio.reading import probe
from nablafx_core.data.levels import SILENT, measure_levels
from nablafx_core.data.sources import WavSource
from nablafx_core.errors import DataError

#: Number of files up to which each gets a note of its own.
_EACH = 4


def chosen_channels(
    paths: Iterable[Path], channel: int, setting: str = "data.channel"
) -> tuple[dict[Path, int], tuple[str, ...]]:
    """Select a channel of each file: `channel` of files with several, the only one of the others.

    Args:
        paths: paths of audio files.
        channel: channel, counted from 0.
        setting: name of the setting that selects it, for messages.

    Returns:
        The channel of each file; and notes about files with several channels, one for each of up to 4 files, else one
        for all.

    Raises:
        DataError: if a file cannot be read; if a file with several channels has no such channel; or if no file has
            several, and the channel is not 0.
    """
    counts = {path: probe(path).channels for path in paths}
    several = [path for path, count in counts.items() if count > 1]
    for path in several or counts:
        if not 0 <= channel < counts[path]:
            raise DataError(f"{path}: has no channel {channel}; it has {counts[path]}, counted from 0. Set {setting}.")
    notes = [f"{path}: has {counts[path]} channels; channel {channel} is used ({setting})." for path in several]
    if len(notes) > _EACH:
        more = f"{several[0]} and {len(several) - 1} more files have several channels"
        notes = [f"{more}; channel {channel} of each is used. Set {setting} to use another."]
    return {path: channel if count > 1 else 0 for path, count in counts.items()}, tuple(notes)


def sounding_channels(path: Path, but: int) -> dict[int, float]:
    """Return the peaks of the channels of a file that are not silent, by channel, as fractions of full scale.

    Args:
        path: path of an audio file.
        but: channel to skip, counted from 0.
    """
    others = [channel for channel in range(probe(path).channels) if channel != but]
    measured = {channel: measure_levels(WavSource(path, channel=channel))[0] for channel in others}
    return {channel: signal.peak for channel, signal in measured.items() if signal.swing >= SILENT}


def sounding_elsewhere(path: Path, but: int, setting: str = "data.channel") -> str:
    """Return the advice, for a message, to set another channel of a file that has a signal; empty if there is none.

    Args:
        path: path of an audio file.
        but: channel that was read, counted from 0.
        setting: name of the setting that selects the channel.
    """
    for channel, peak in sounding_channels(path, but).items():
        return f" Channel {channel} has a signal (peak {peak:.2g}); channel {but} was read. Set {setting} to {channel}."
    return ""
