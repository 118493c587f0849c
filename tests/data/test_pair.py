"""Pairs of files: the delay is measured, removed and noted."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from scipy.signal import butter, lfilter

from nablafx_core.data.facts import Step
from nablafx_core.errors import DataError
from nablafx_data.pair import Pair
from nablafx_data.plucked import music

pytestmark = pytest.mark.slow

RATE = 24000
DRY = music(3.0, RATE, np.random.default_rng(1)).astype(np.float32)
WET = np.tanh(4 * DRY)
LONG = music(8.0, RATE, np.random.default_rng(2)).astype(np.float32)


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("NABLAFX_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def pair(tmp_path):
    def write(dry=DRY, wet=WET, wet_rate=RATE, **settings):
        soundfile.write(tmp_path / "di.wav", dry, RATE, subtype="FLOAT")
        soundfile.write(tmp_path / "amp.wav", wet, wet_rate, subtype="FLOAT")
        return Pair(str(tmp_path / "di.wav"), str(tmp_path / "amp.wav"), **settings)

    return write


def audio(recording):
    return (source.read(0, source.num_samples).numpy() for source in (recording.dry, recording.wet))


@pytest.mark.parametrize("delay", [0, 1, 37, 480, 10007, -37, -480])
def test_the_delay_is_measured_removed_and_noted(pair, delay):
    wet = np.concatenate([np.zeros(delay, np.float32), WET]) if delay >= 0 else WET[-delay:]
    data = pair(wet=wet)
    (recording,) = data.recordings
    dry, wet = audio(recording)
    assert np.array_equal(np.tanh(4 * dry), wet)
    assert recording.num_samples == len(dry) == len(wet) == len(DRY) - max(-delay, 0)
    assert any(f"; {delay} samples were removed" in note for note in data.notes)
    assert (recording.name, recording.source, recording.part) == ("amp", "di", "trainval")
    assert (recording.take, recording.offset) == ("amp", max(-delay, 0))
    assert data.controls == ()


def test_a_given_delay_is_used(pair):
    dry, wet = audio(pair(delay=5, check=False).recordings[0])
    assert np.array_equal(wet, WET[5:])
    assert np.array_equal(dry, DRY[:-5])


def test_one_channel_of_stereo_files_is_used_and_noted(pair):
    stereo = np.stack([0 * WET, WET], axis=1)
    data = pair(dry=np.stack([DRY, DRY], axis=1), wet=stereo, channel=1)
    assert np.array_equal(next(iter([*audio(data.recordings[0])][1:])), WET)
    assert sum("has 2 channels; channel 1 is used" in note for note in data.notes) == 2


def test_a_mono_dry_file_goes_with_either_channel_of_a_stereo_wet_one(pair):
    data = pair(wet=np.stack([0 * WET, WET], axis=1), channel=1)
    dry, wet = audio(data.recordings[0])
    assert np.array_equal(dry, DRY)
    assert np.array_equal(wet, WET)


def test_little_in_common_is_noted_if_the_delay_is_given(pair):
    other = music(3.0, RATE, np.random.default_rng(5))
    assert any("amp.wav: has little in common" in note for note in pair(wet=other, delay=0).notes)
    assert not any("in common" in note for note in pair(delay=0).notes)


def test_clipping_is_noted(pair):
    assert any("amp.wav: clips (" in note for note in pair(wet=np.clip(20 * WET, -1, 1)).notes)


def test_inverted_polarity_is_kept_and_noted(pair):
    data = pair(wet=-WET)
    assert np.array_equal([*audio(data.recordings[0])][1], -WET)
    assert any("inverts the polarity" in note for note in data.notes)
    assert not any("inverts the polarity" in note for note in pair().notes)


def test_the_note_gives_the_measured_and_the_removed_delay(pair):
    dull = lfilter(*butter(4, 1500, fs=RATE), WET)
    found = next(note for note in pair(wet=np.concatenate([np.zeros(300), dull])).notes if "lags" in note)
    measured, taken = re.search(r"lags its dry file by ([\d.]+) samples .*; (\d+) samples were removed", found).groups()
    assert 294 <= int(taken) <= 300 < float(measured)
    assert "where the effect's response begins" in found


def test_a_delay_beyond_the_limit_is_refused_with_the_setting(pair):
    wet = np.concatenate([np.zeros(30_000), np.tanh(4 * LONG)])
    with pytest.raises(DataError, match=r"lags its dry file by 30,000 samples \(1,250 ms\).*max_delay_ms to 1300"):
        pair(dry=LONG, wet=wet)
    assert any("; 30000 samples were removed" in note for note in pair(dry=LONG, wet=wet, max_delay_ms=1300).notes)


def test_a_stereo_wet_file_with_the_signal_on_the_other_channel(pair):
    right, hum = np.stack([0 * WET, WET], axis=1), np.random.default_rng(1).normal(0, 0.1, len(WET))
    with pytest.raises(DataError, match=r"is silent .*Channel 1 has a signal .* Set data\.channel to 1"):
        pair(wet=right)
    with pytest.raises(DataError, match=r"Channel 1 of it fits: set data\.channel to 1"):
        pair(wet=np.stack([hum, WET], axis=1))
    with pytest.raises(DataError, match=r"Channel 1 has a signal .* Set data\.wet_channel to 1"):
        pair(dry=np.stack([DRY, 0 * DRY], axis=1), wet=right)
    assert pair(wet=right, wet_channel=1).recordings


def test_one_file_may_contain_both_signals(tmp_path):
    path = str(tmp_path / "take.wav")
    soundfile.write(path, np.stack([DRY, WET], axis=1), RATE, subtype="FLOAT")
    with pytest.raises(DataError, match=r"is its dry file itself: a model of it is a wire.*data\.wet_channel: 1"):
        Pair(path, path)
    dry, wet = audio(Pair(path, path, wet_channel=1).recordings[0])
    assert np.array_equal(dry, DRY)
    assert np.array_equal(wet, WET)


def test_a_dry_file_that_is_only_scaled_is_noted(pair):
    with pytest.raises(DataError, match="is its dry file itself"):
        pair(wet=DRY)
    assert any("is its dry file itself" in note for note in pair(wet=DRY, check=False).notes)
    assert any("is its dry file times -0.5: a model of it is a wire" in note for note in pair(wet=-0.5 * DRY).notes)
    assert not any("wire" in note for note in pair().notes)


@pytest.mark.parametrize("early", [0, 10])
@pytest.mark.parametrize("tail", [RATE, 3 * RATE + 3])
def test_a_tail_is_skipped_and_its_length_noted(pair, early, tail):
    rest = np.zeros(tail) if tail > RATE else np.random.default_rng(2).normal(0, 0.01, tail)
    data = pair(wet=np.concatenate([WET[early:], rest]))
    assert data.recordings[0].num_samples == len(DRY) - early
    assert any(
        f"amp.wav: the last {tail} samples ({tail / RATE:.2f} s) exceed the other file" in note for note in data.notes
    )


def test_a_wet_file_with_a_silent_part_is_refused_with_its_times(pair):
    dead = np.tanh(4 * LONG)
    dead[4 * RATE : 6 * RATE] = 0
    with pytest.raises(DataError, match=r"amp\.wav: is silent for .* while its dry file plays .*4\.0 s to 6\.0 s"):
        pair(dry=LONG, wet=dead)


def test_a_small_rest_is_skipped_and_noted(pair):
    data = pair(wet=np.append(WET, np.zeros(500, np.float32)))
    assert data.recordings[0].num_samples == len(DRY)
    assert any("amp.wav: the last 500 samples (0.02 s) exceed the other file" in note for note in data.notes)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"wet": WET[:RATE]}, "after alignment"),
        ({"wet": music(3.0, RATE, np.random.default_rng(5))}, "delay .* could not be measured"),
        ({"wet": np.random.default_rng(5).normal(0, 0.1, len(DRY)), "delay": 0}, r"amp\.wav: has nothing in common"),
        ({"wet": 0 * WET, "delay": 0}, "is silent"),
        ({"wet": 0 * WET}, r"amp\.wav: is silent"),
        ({"dry": 0 * DRY}, r"amp\.wav: its dry file is silent"),
        ({"wet": np.where(np.arange(len(WET)) == 777, np.nan, WET)}, r"amp\.wav: sample 777 is NaN"),
        ({"wet": np.roll(WET, 1000), "delay": 0}, "lags its dry file by 1000"),
        (
            {"wet": np.where(np.arange(len(WET)) == 777, 1e30, WET)},
            r"amp\.wav: peaks at 1e\+30 times full scale",
        ),
        ({"wet": 32767 * np.roll(WET, 40_000)}, r"amp\.wav: peaks at 32,\d\d\d times full scale"),
        ({"wet_rate": 48000}, "has 48000 Hz, its dry file .* has 24000 Hz"),
        ({"channel": 1}, "has no channel 1"),
        ({"channel": -1}, "has no channel -1"),
        ({"wet": np.stack([WET, WET], axis=1), "channel": 2}, r"amp\.wav: has no channel 2; it has 2"),
        ({"max_delay_ms": 0}, "data.max_delay_ms .* got 0"),
        ({"max_delay_ms": float("nan")}, "data.max_delay_ms .* got nan"),
        ({"max_delay_ms": float("inf")}, "data.max_delay_ms .* got inf"),
        ({"sample_rate": 0}, "cannot be resampled to 0 Hz"),
        ({"sample_rate": 10**10}, "cannot be resampled to 10000000000 Hz"),
        ({"delay": 10**12}, r"amp\.wav: .*72,000 .*data\.delay .*1,000,000,000,000"),
        ({"delay": -len(DRY)}, r"di\.wav: .*72,000 .*data\.delay .*72,000"),
        ({"wet": WET[:16_383]}, r"amp\.wav: .*16,383 samples .*16,384"),
        ({"wet": WET[:1]}, r"amp\.wav: .* 1 samples .*16,384"),
    ],
)
def test_files_that_do_not_match_are_refused(pair, wrong, message):
    with pytest.raises(DataError, match=message):
        pair(**wrong)


def test_another_sample_rate_is_resampled(pair):
    data = pair(sample_rate=48000)
    assert (data.sample_rate, data.recordings[0].num_samples) == (48000, 2 * len(DRY))
    assert torch.isfinite(data.recordings[0].wet.read(0, 100)).all()


@pytest.mark.parametrize(("samples", "taken"), [(30.0, True), (5000.0, False), (-5000.0, False)])
def test_a_long_delay_requires_more_confidence(pair, monkeypatch, samples, taken):
    """Two takes in the same key match by chance at some delay, and most possible delays are long."""
    examined = Pair._examined

    def doubtful(self, *sources):
        facts = examined(self, *sources)
        return replace(facts, delay=facts.delay._replace(samples=samples, confidence=0.62))

    monkeypatch.setattr(Pair, "_examined", doubtful)
    if taken:
        assert "30 samples were removed" in pair().notes[0]
    else:
        with pytest.raises(DataError, match="little in common"):
            pair()


def test_lost_samples_are_named_if_no_single_delay_is_found(pair, monkeypatch):
    examined = Pair._examined

    def cut(self, *sources):
        facts = examined(self, *sources)
        return replace(
            facts, delay=facts.delay._replace(confidence=0.1), steps=(Step(RATE, RATE + 500, -777.0),), common=0.1
        )

    monkeypatch.setattr(Pair, "_examined", cut)
    with pytest.raises(DataError, match=r"amp\.wav: jumps: its delay changes by -777 samples at about 1\.0 s"):
        pair()
