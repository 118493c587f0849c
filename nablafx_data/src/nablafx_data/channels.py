"""Files with several channels, of which one is used."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nablafx_core.audio.files import probe
from nablafx_core.errors import DataError

_EACH = 4


def chosen_channels(paths: Iterable[Path], channel: int) -> tuple[dict[Path, int], tuple[str, ...]]:
    """Which channel of each file is used: `channel` of those with several, the only one of the others.

    Args:
        paths: of audio files.
        channel: counted from 0.

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
    notes = [f"{path}: has {counts[path]} channels; channel {channel} is used (data.channel)." for path in several]
    if len(notes) > _EACH:
        notes = [f"{several[0]} and {len(several) - 1} more have several channels; channel {channel} is used of each."]
        notes[0] += " data.channel chooses another."
    return {path: channel if count > 1 else 0 for path, count in counts.items()}, tuple(notes)
