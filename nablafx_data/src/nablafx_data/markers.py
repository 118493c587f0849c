"""Find sync impulses at the ends of a dry file, which were added to align dry and wet, and the music between them."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import maximum_filter1d  # type: ignore[import-untyped]

from nablafx_core.interfaces import AudioSource

#: Time at each end of a file in which impulses are searched.
_SEARCHED_S = 5.0
#: An impulse is above `_LOUD` of full scale, and the signal around it, within `_QUIET_S`, is below `_SOFT` of its level
#: (-34 dB), except for `_RING` samples on either side in which a converter's filter rings. Music has no such samples.
_LOUD, _SOFT, _QUIET_S, _RING = 0.25, 0.02, 0.005, 32
#: Time after the last impulse for the effect's response to decay, and time before the first impulse at the end.
_AFTER_S, _BEFORE_S = 0.1, 0.01


def music_between_markers(dry: AudioSource, sample_rate: int) -> tuple[int, int]:
    """Find the music between sync impulses: after the last of the first 5 s, and before the first of the last 5 s.

    It begins 0.1 s after the impulse, so that the effect's response has decayed, and ends 0.01 s before the next. At an
    end without impulses it reaches to that end. If nothing would be left, it is the whole signal. In a signal of less
    than 10 s, its halves are searched.

    Args:
        dry: mono signal that was sent to the effect.
        sample_rate: sample rate in Hz.

    Returns:
        The first sample of the music, and the sample after the last, counted from 0.
    """
    length = dry.num_samples
    searched = min(int(_SEARCHED_S * sample_rate), length // 2)
    head = find_impulses(dry.read(0, searched).numpy(), sample_rate)
    tail = find_impulses(dry.read(length - searched, length).numpy(), sample_rate) + (length - searched)
    start = int(head[-1]) + int(_AFTER_S * sample_rate) if len(head) else 0
    stop = int(tail[0]) - int(_BEFORE_S * sample_rate) if len(tail) else length
    return (start, stop) if start < stop else (0, length)


def find_impulses(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """Find isolated samples: above a quarter of full scale, and 34 dB above all others within 5 ms or 64 samples.

    The 32 samples on either side, where a converter's filter rings, must only be no higher.

    Args:
        audio: samples, (time,), full scale 1.
        sample_rate: sample rate in Hz.

    Returns:
        Indices of the impulses in increasing order, (impulses,).
    """
    level = np.abs(audio)
    reach = max(int(_QUIET_S * sample_rate), 2 * _RING)
    padded = np.pad(level, reach)
    width = reach - _RING
    # side[i] is the peak of padded[i : i + width].
    side = maximum_filter1d(padded, width, origin=-(width // 2), mode="constant")
    positions = np.arange(len(level))
    around = np.maximum(side[positions], side[positions + reach + _RING + 1])
    highest = level == maximum_filter1d(level, 2 * _RING + 1, mode="constant") if len(level) else level > 0
    return np.flatnonzero(highest & (level > _LOUD) & (around < _SOFT * level))
