"""Sync impulses at the ends of a file, by which dry and wet were aligned."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import maximum_filter1d  # type: ignore[import-untyped]

from nablafx_core.interfaces import AudioSource

_SEARCHED_S = 5.0
_QUIET_S = 0.005
_RING = 32
_AFTER_S, _BEFORE_S = 0.1, 0.01


def music_between_markers(dry: AudioSource, sample_rate: int) -> tuple[int, int]:
    """Where the music begins and ends: after the last impulse of the first 5 s and before the first of the last 5 s.

    A tenth of a second after an impulse is left to the effect's answer. Without impulses, the whole file.

    Args:
        dry: the signal that was sent to the effect.
        sample_rate: Hz.
    """
    length = dry.num_samples
    searched = min(int(_SEARCHED_S * sample_rate), length // 2)
    head = find_impulses(dry.read(0, searched).numpy(), sample_rate)
    tail = find_impulses(dry.read(length - searched, length).numpy(), sample_rate) + (length - searched)
    start = int(head[-1]) + int(_AFTER_S * sample_rate) if len(head) else 0
    stop = int(tail[0]) - int(_BEFORE_S * sample_rate) if len(tail) else length
    return (start, stop) if start < stop else (0, length)


def find_impulses(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """Samples that stand alone: above a quarter of full scale, 34 dB above all within 5 ms.

    The 32 samples on either side are left out of that: a converter's filter rings there.

    Args:
        audio: (time,).
        sample_rate: Hz.
    """
    level = np.abs(audio)
    reach = max(int(_QUIET_S * sample_rate), 2 * _RING)
    padded = np.pad(level, reach)
    width = reach - _RING
    # side[i] is the highest level of padded[i : i + width]
    side = maximum_filter1d(padded, width, origin=-(width // 2), mode="constant")
    positions = np.arange(len(level))
    around = np.maximum(side[positions], side[positions + reach + _RING + 1])
    highest = level == maximum_filter1d(level, 2 * _RING + 1, mode="constant") if len(level) else level > 0
    return np.flatnonzero(highest & (level > 0.25) & (around < 0.02 * level))
