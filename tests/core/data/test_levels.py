"""Silence in one signal while the other plays, and unusual levels, are reported in words."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from scipy.signal import fftconvolve

from nablafx_core.data import checks
from nablafx_core.data.delay import Delay
from nablafx_core.data.facts import PairFacts
from nablafx_core.data.levels import measure_levels, silent_parts
from nablafx_core.data.sources import ArraySource

RATE = 48000
SECONDS = 12


@cache
def notes():
    """Return a decaying noisy note every half second, each with its own level."""
    random = np.random.default_rng(0)
    note = random.normal(size=RATE // 2) * np.exp(-np.arange(RATE // 2) / 8000)
    audio = np.concatenate([note * random.uniform(0.2, 1) for _ in range(2 * SECONDS)])
    return 0.5 * audio / np.abs(audio).max()


def measured(dry, wet, lag=0):
    (one, dry_energies), (other, wet_energies) = (
        measure_levels(ArraySource(torch.from_numpy(np.array(x)).float())) for x in (dry, wet)
    )
    dead, ghost = silent_parts(dry_energies, wet_energies, lag, RATE)
    return PairFacts(one, other, Delay(0.0, 1.0, False), common=1.0, dead=dead, ghost=ghost)


def faults(found):
    return " ".join(checks.faults(found, RATE))


def remarks(found):
    return " ".join(checks.remarks(found, RATE))


def muted(audio, spans, level=0.0):
    audio = audio.copy()
    for start, stop in spans:
        audio[int(start * RATE) : int(stop * RATE)] *= level
    return audio


@pytest.mark.parametrize(
    ("spans", "share", "told"),
    [
        ([(3, 5), (8, 10)], 0.33, "3.0 s to 5.0 s, 8.0 s to 10.0 s"),  # a demo version
        ([(3, 12)], 0.75, "3.0 s to 12.0 s"),  # died
        ([(1, 1.6), (4, 4.6), (6, 6.6), (9, 9.6)], 0.2, ", …"),
    ],
)
@pytest.mark.parametrize("lag", [0, 30_000, -30_000])
def test_wet_that_is_silent_while_dry_plays_is_rejected_with_times_and_share(spans, share, told, lag):
    wet = muted(np.tanh(5 * notes()), spans)
    dry, wet = (notes()[-lag:], wet[:lag]) if lag < 0 else (notes(), np.concatenate([np.zeros(lag), wet]))
    found = measured(dry, wet, lag)
    assert found.dead.share == pytest.approx(share, abs=0.07)
    assert "is silent for" in faults(found)
    if lag == 0:
        assert told in faults(found)


def test_a_muted_part_with_hiss_counts_as_silent():
    hiss = np.random.default_rng(1).normal(0, 1e-5, SECONDS * RATE)
    assert "is silent for" in faults(measured(notes(), muted(np.tanh(5 * notes()), [(3, 5)]) + hiss))


def test_a_short_gap_is_only_noted():
    found = measured(notes(), muted(np.tanh(5 * notes()), [(3, 3.13)]))
    assert not faults(found)
    assert "is silent for 0." in remarks(found)


@pytest.mark.parametrize("threshold", [0.05, 0.15])
def test_a_gate_that_closes_where_dry_is_quiet_is_not_rejected(threshold):
    level = np.sqrt(np.convolve(notes() ** 2, np.ones(2400) / 2400, mode="same"))
    found = measured(notes(), np.tanh(5 * notes()) * (level > threshold * level.max()))
    assert not faults(found)
    if threshold > 0.1:
        assert "gate" in remarks(found)


def test_wet_that_plays_long_after_dry_is_noted_or_rejected_but_a_tail_is_not():
    dry = muted(notes(), [(4, 12)])
    tail = np.random.default_rng(2).normal(size=RATE) * np.exp(-np.arange(RATE) / 15_000)
    echoing = dry + 0.01 * fftconvolve(dry, tail)[: len(dry)]
    assert not faults(measured(dry, echoing)) + remarks(measured(dry, echoing))
    assert "its dry file has been silent for 2 s" in faults(measured(dry, notes()))
    short = muted(notes(), [(4, 6.4)])
    assert not faults(measured(short, notes()))
    assert "its dry file has been silent for 2 s" in remarks(measured(short, notes()))


def test_a_constant_signal_is_silent_and_an_offset_is_noted():
    assert "is silent: every sample is 0.25" in faults(measured(notes(), 0 * notes() + 0.25))
    assert "has an offset of 0.250" in remarks(measured(notes(), notes() + 0.25))


def test_integers_written_as_floats_are_rejected_with_their_scale():
    found = measured(notes() / np.abs(notes()).max() * 32768, notes())
    assert "its dry file peaks at 32,768 times full scale" in faults(found)
    assert "Divide them by 32,768." in faults(found)
    quiet = measured(notes() / np.abs(notes()).max() * 3000, notes())
    assert "Divide them by 32,768." in faults(quiet)  # the scale of its louder wet file
    assert "Divide them by 8,388,608" in faults(measured(notes(), 2 * notes() * 2**23))
    loud = measured(notes(), 16 * notes())
    assert not faults(loud)
    assert "peaks at 8.0 times full scale (18 dB above it)" in remarks(loud)
    assert "is faint (peak -66 dB" in remarks(measured(notes(), notes() / 1000))


@pytest.mark.parametrize(("seconds", "told"), [(3.0, "3.0 s"), (59.97, "1:00.0 min"), (119.97, "2:00.0 min")])
def test_times_are_rounded_before_they_are_divided_into_minutes(seconds, told):
    assert checks._clock(seconds * RATE, RATE) == told
