"""Sync impulses are found, and music is not mistaken for them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nablafx_core.data.sources import ArraySource
from nablafx_data.markers import find_impulses, music_between_markers
from nablafx_data.plucked import music

RATE = 48000


def padded(seconds=1.0):
    silence = np.zeros(int(seconds * RATE))
    return np.concatenate([silence, music(12.0, RATE, np.random.default_rng(0)), silence])


def between(audio):
    return music_between_markers(ArraySource(torch.from_numpy(audio).float()), RATE)


def test_music_has_no_impulses():
    for seed in range(5):
        audio = music(10.0, RATE, np.random.default_rng(seed))
        assert not len(find_impulses(audio, RATE))
        assert between(audio) == (0, len(audio))


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("polarity", [1, -1])
def test_the_music_is_between_the_impulses(count, polarity):
    audio = padded()
    head = [4800 * (i + 1) for i in range(count)]
    tail = [len(audio) - 4800 * (i + 1) for i in range(count)]
    audio[head + tail] = 0.9 * polarity
    start, stop = between(audio)
    assert max(head) < start <= RATE
    assert len(audio) - RATE <= stop < min(tail)


def test_impulses_at_the_very_ends_count():
    audio = padded()
    audio[[0, -1]] = 1.0
    start, stop = between(audio)
    assert 0 < start <= RATE
    assert len(audio) - RATE <= stop < len(audio) - 1


def test_an_impulse_after_a_converter_is_found_at_its_peak():
    audio = np.zeros(2000)
    audio[1000 - 100 : 1000 + 101] = np.sinc(np.arange(-100, 101) + 0.3) * np.kaiser(201, 20)
    assert find_impulses(audio, RATE).tolist() == [1000]


def test_two_impulses_close_together_are_not_markers():
    audio = np.zeros(2000)
    audio[[1000, 1100]] = 1
    assert not len(find_impulses(audio, RATE))
