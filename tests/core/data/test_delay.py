"""The delay of an effect is measured despite its filters and distortion, and faults of pairs are reported."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from scipy.signal import butter, lfilter

from nablafx_core.audio import reading as files
from nablafx_core.audio.resampling import resample
from nablafx_core.data import checks, facts
from nablafx_core.data.delay import find_delay
from nablafx_core.data.sources import ArraySource, WavSource

pytestmark = pytest.mark.slow

RATE = 48000


@cache
def strings(seconds=4.0, seed=0):
    """Return decaying tones with a noisy attack, three per second."""
    random = np.random.default_rng(seed)
    audio = np.zeros(int(seconds * RATE))
    for begin in range(0, len(audio), RATE // 3):
        time = np.arange(min(RATE, len(audio) - begin)) / RATE
        pitch = 82.4 * 2 ** (random.integers(36) / 12)
        for harmonic in range(1, 13):
            audio[begin : begin + len(time)] += (
                np.exp(-3 * harmonic * time)
                / harmonic
                * np.sin(2 * np.pi * pitch * harmonic * time + random.uniform(0, 6))
            )
        attack = min(480, len(time))
        audio[begin : begin + attack] += random.normal(0, 0.3, attack) * np.hanning(attack)
    return 0.5 * audio / np.abs(audio).max()


def coloured(audio):
    """Apply a pedal: coupling capacitor, clipping, tone control; its only delay is the phase of its filters."""
    driven = np.tanh(8 * lfilter(*butter(1, 100, "highpass", fs=RATE), audio))
    return lfilter(*butter(2, 2000, fs=RATE), driven)


EFFECTS = {
    "clean": (lambda x: x, 0.1),
    "fuzz": (lambda x: np.sign(x) * np.minimum(np.abs(20 * x), 1), 0.5),
    "pedal": (coloured, 0.5),
    "dark": (lambda x: lfilter(*butter(2, 500, fs=RATE), np.tanh(8 * x)), 0.5),
    "octave": (lambda x: np.abs(x) - np.abs(x).mean(), 2),
}


def shifted(audio, samples):
    return (
        np.concatenate([np.zeros(samples), audio])[: len(audio)]
        if samples >= 0
        else np.append(audio[-samples:], np.zeros(-samples))
    )


@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize("delay", [0, 37, 10007, -480])
def test_a_delay_is_found(effect, delay):
    process, tolerance = EFFECTS[effect]
    dry = strings()
    found = find_delay(dry, shifted(process(dry), delay), RATE // 2)
    assert abs(found.samples - delay) <= tolerance
    assert found.confidence > 0.6


def test_a_band_without_signal_does_not_affect_the_delay():
    dry = strings()
    dry, wet = (resample(torch.from_numpy(x), 24000, 48000).numpy() for x in (dry, coloured(dry)))
    found = find_delay(dry, wet, 1000)
    assert abs(found.samples) < 2
    assert found.confidence > 0.9


@pytest.mark.parametrize("delay", [0.25, 3.5, -7.75])
def test_fractions_of_a_sample_are_found(delay):
    dry = strings()
    spectrum = np.fft.rfft(dry, 2 * len(dry))
    turned = spectrum * np.exp(-2j * np.pi * np.arange(len(spectrum)) / (2 * len(dry)) * delay)
    wet = np.fft.irfft(turned)[: len(dry)]
    assert abs(find_delay(dry, wet, 100).samples - delay) <= 0.07


@pytest.mark.parametrize("effect", ["clean", "fuzz", "pedal", "dark"])
def test_an_inverted_signal_is_recognised(effect):
    dry = strings()
    wet = EFFECTS[effect][0](dry)
    upright, inverted = find_delay(dry, wet, 1000), find_delay(dry, -wet, 1000)
    assert (upright.inverted, inverted.inverted) == (False, True)
    assert upright.samples == inverted.samples


@pytest.mark.parametrize("wet", [strings(seed=9), np.random.default_rng(0).normal(size=192_000), np.zeros(192_000)])
def test_unrelated_signals_have_low_confidence(wet):
    assert find_delay(strings(), wet, 10_000).confidence < 0.5


def test_a_signal_that_is_too_short_has_no_confidence():
    dry = strings()[:10_000]
    assert find_delay(dry, dry, 100).confidence == 0


def examined(dry, wet):
    sources = (ArraySource(torch.from_numpy(np.ascontiguousarray(x)).float()) for x in (dry, wet))
    return facts.examine(*sources, max_delay=RATE // 2, sample_rate=RATE)


def test_a_pair_of_files_is_measured_again_only_if_a_file_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("NABLAFX_CACHE", str(tmp_path / "cache"))
    dry, wet = tmp_path / "dry.wav", tmp_path / "wet.wav"
    for path in (dry, wet):
        files.write(path, torch.from_numpy(strings()), RATE)

    def measured():
        return facts.examine_files(dry, wet, WavSource(dry), WavSource(wet), 1000, RATE)

    first = measured()
    monkeypatch.setattr(facts, "align", None)
    assert measured() == first
    monkeypatch.undo()
    monkeypatch.setenv("NABLAFX_CACHE", str(tmp_path / "cache"))
    files.write(wet, torch.from_numpy(0.25 * strings()), RATE)
    assert measured().wet.peak == pytest.approx(first.wet.peak / 4)


def complaints(dry, wet):
    return " ".join(checks.faults(examined(dry, wet), RATE))


def test_a_good_pair_has_no_faults():
    dry = strings()
    for process, _ in EFFECTS.values():
        found = examined(dry, process(dry) * 0.5)
        assert not list(checks.faults(found, RATE))
        assert not [remark for remark in checks.remarks(found, RATE) if "wire" not in remark]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda dry, wet: (dry, 0 * wet), r"^is silent"),
        (lambda dry, wet: (0 * dry, wet), r"its dry file is silent"),
        (lambda dry, wet: (dry, shifted(wet, 1000)), r"lags its dry file by 1000\.\d"),
        (lambda dry, wet: (dry, shifted(wet, -30)), r"30\.\d samples ahead"),
    ],
)
def test_faults_of_a_pair_are_reported(spoil, message):
    import re

    dry = strings()
    assert re.search(message, complaints(*spoil(dry, np.tanh(3 * dry))))


def test_a_drift_between_two_clocks_is_reported():
    dry = strings(13)
    steady = np.tanh(3 * dry)
    at = np.arange(len(dry))
    drifting = np.interp(at * (1 - 60e-6), at, steady)
    assert "drifts" in complaints(dry, drifting)
    assert not complaints(dry, steady)


def test_clipped_samples_are_counted_and_loud_ones_are_not():
    dry = strings()
    loud = 3 * dry
    clipped = np.clip(loud, -1, 1)
    wanted = int(((np.abs(loud) >= 1)[:-1] & (np.abs(loud) >= 1)[1:] & (loud[:-1] * loud[1:] > 0)).sum())
    found = examined(dry, clipped)
    assert (found.dry.clipped, found.wet.clipped) == (0, wanted)
    assert "clips" in " ".join(checks.remarks(found, RATE))
    assert examined(dry, loud).wet.clipped == 0


def test_a_pair_that_differs_from_the_others_is_named():
    dry = strings()
    wet = np.tanh(5 * dry)
    good = {f"good{n}": examined(strings(seed=n), np.tanh(5 * strings(seed=n))) for n in range(2)}
    assert not list(checks.odd_ones(good))
    assert [name for name, _ in checks.odd_ones({**good, "late": examined(dry, shifted(wet, 40))})] == ["late"]
    assert [name for name, _ in checks.odd_ones({**good, "turned": examined(dry, -wet)})] == ["turned"]
    everywhere = {name: examined(strings(seed=n), -wet if n == 0 else -strings(seed=n)) for n, name in enumerate("abc")}
    assert not list(checks.odd_ones(everywhere))


def played(seed, seconds=6.0):
    """Return notes at irregular times, as a person plays them."""
    random, at = np.random.default_rng(seed), 0
    audio = np.zeros(int(seconds * RATE))
    while at < len(audio):
        note = strings(0.3, seed=int(random.integers(1000)))[: len(audio) - at]
        audio[at : at + len(note)] += note * random.uniform(0.2, 1)
        at += int(random.uniform(0.1, 0.6) * RATE)
    return audio


@pytest.mark.parametrize("wet", [np.random.default_rng(0).normal(0, 0.1, 4 * RATE), np.tanh(5 * strings(seed=2))])
def test_another_signal_has_nothing_in_common_with_the_dry_file(wet):
    assert "nothing in common" in complaints(strings(), wet)


def test_another_take_among_good_ones_is_named():
    good = {f"good{n}": examined(played(n), np.tanh(5 * played(n))) for n in range(3)}
    others = {f"other{n}": examined(played(0), np.tanh(5 * played(n))) for n in range(3, 7)}
    found = [
        name
        for name, fact in others.items()
        if "another take" in dict(checks.odd_ones({**good, name: fact})).get(name, "")
    ]
    assert len(found) >= 3  # those that agree by chance cannot be distinguished from an effect
    assert not list(checks.odd_ones(good))


def test_an_effect_that_changes_all_recordings_strongly_is_not_reported_as_another_take():
    little = replace(examined(strings(), np.tanh(5 * strings())), common=0.4)
    good = replace(little, common=0.9)
    assert not list(checks.odd_ones({"one": little, "two": little, "three": little}))
    assert [name for name, _ in checks.odd_ones({"one": good, "two": little, "three": good})] == ["two"]


def vibrato(audio):
    at = np.arange(len(audio))
    return np.interp(at - (0.008 + 0.003 * np.sin(2 * np.pi * at / RATE)) * RATE, at, audio, left=0)


@pytest.mark.parametrize("effect", [*EFFECTS, "vibrato", "delayed"])
def test_effects_keep_enough_in_common_with_the_dry_file(effect):
    process = {**{name: one for name, (one, _) in EFFECTS.items()}, "vibrato": vibrato}.get(effect)
    dry = strings(6)
    wet = shifted(dry, 12_000) if process is None else process(dry)
    assert examined(dry, wet).common > (0.4 if effect == "vibrato" else 0.7)


@pytest.mark.parametrize("length", [0, 1, 5, 1000, 20_000, 40_000])
def test_a_signal_that_is_too_short_to_compare_is_accepted(length):
    dry = strings(1.0)[:length]
    found = examined(dry, np.tanh(3 * dry))
    assert not [fault for fault in checks.faults(found, RATE) if "silent" not in fault]


def test_long_signals_are_measured_where_they_are_loud():
    quiet = np.random.default_rng(0).normal(0, 1e-4, 20 * RATE)
    dry, wet = quiet.copy(), np.random.default_rng(1).normal(0, 1e-4, 20 * RATE)
    dry[3 * RATE : 7 * RATE], wet[3 * RATE + 50 : 7 * RATE + 50] = strings(), np.tanh(3 * strings())
    assert abs(examined(dry, wet).delay.samples - 50) < 1
