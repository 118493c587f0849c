"""Drifting clocks and lost samples are found, and distinguished from effects that move the delay."""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline
from scipy.signal import butter, lfilter, resample_poly

from nablafx_core.data import alignment, checks, facts
from nablafx_core.data.sources import ArraySource

pytestmark = pytest.mark.slow

RATE = 48000
SECONDS = 12


@cache
def played(seconds=SECONDS):
    """Return plucked notes at irregular times over hiss, as a person plays and records them."""
    random, at = np.random.default_rng(3), 0
    audio = random.normal(0, 1e-4, int(seconds * RATE))
    while at < len(audio):
        time = np.arange(min(RATE, len(audio) - at)) / RATE
        pitch, level = 82.4 * 2 ** (random.uniform(0, 36) / 12), random.uniform(0.1, 1)
        for harmonic in range(1, 13):
            decay = np.exp(-3 * harmonic**0.5 * time) / harmonic
            audio[at : at + len(time)] += level * decay * np.sin(2 * np.pi * pitch * harmonic * time + harmonic**2)
        audio[at : at + 480] += level * random.normal(0, 0.2, len(audio[at : at + 480]))
        at += int(random.uniform(0.15, 0.6) * RATE)
    return 0.5 * audio / np.abs(audio).max()


def amplifier(audio):
    """Apply two distorting stages, and a loudspeaker with a dense response."""
    random = np.random.default_rng(5)
    cabinet = random.normal(size=400) * np.exp(-np.arange(400) / 60)
    driven = np.tanh(3 * np.tanh(30 * lfilter(*butter(1, 120, "highpass", fs=RATE), audio)) + 0.3)
    return 0.1 * lfilter(*butter(2, [80, 5000], "bandpass", fs=RATE), np.convolve(driven, cabinet)[: len(audio)])


def compressor(audio):
    envelope = lfilter([1e-3], [1, -0.999], np.abs(audio)) + 1e-4
    return audio * np.minimum(1, (0.02 / envelope) ** 0.75)


EFFECTS = {
    "clean": lambda x: 0.7 * x,
    "fuzz": lambda x: lfilter(*butter(2, 2500, fs=RATE), np.tanh(300 * x + 0.2)),
    "amplifier": amplifier,
    "compressor": compressor,
}


@cache
def wet_of(effect):
    return EFFECTS[effect](played())


def drifting(audio, ppm, delay=100):
    """Resample a signal to a rate that is higher by `ppm`."""
    at = np.arange(len(audio))
    return CubicSpline(at, audio)(np.clip(at / (1 + ppm * 1e-6) - delay, 0, len(audio) - 1))


def examined(dry, wet, max_delay=1000):
    sources = (ArraySource(torch.from_numpy(np.ascontiguousarray(x)).float()) for x in (dry, wet))
    return facts.examine(*sources, max_delay, RATE)


def complaints(found):
    return " ".join(checks.faults(found, RATE))


@pytest.mark.parametrize(("effect", "ppm"), [(e, p) for e in EFFECTS for p in (20, -500)])
def test_a_drift_is_found_through_any_effect_and_both_rates_are_reported(effect, ppm):
    found = examined(played(), drifting(wet_of(effect), ppm))
    text = complaints(found)
    assert abs(found.slope * 1e6 - ppm) < 3
    assert float(re.search(r"\(([+-][\d.]+) ppm\)", text)[1]) == pytest.approx(ppm, abs=3)
    assert float(re.search(r"recorded at ([\d,.]+) Hz", text)[1].replace(",", "")) == pytest.approx(
        RATE * (1 + ppm * 1e-6), abs=0.2
    )
    assert "48,000 Hz" in text
    assert "take" not in text
    assert found.common > checks.UNRELATED


@pytest.mark.parametrize("effect", EFFECTS)
def test_no_drift_is_reported_for_a_common_clock(effect):
    found = examined(played(), np.concatenate([np.zeros(100), wet_of(effect)[:-100]]))
    assert not complaints(found)
    assert abs(found.drift) < checks.DRIFT


def moved(audio, delay):
    at = np.arange(len(audio))
    return np.interp(at - delay, at, audio, left=0)


def swing(hertz, phase=0.0):
    return np.sin(2 * np.pi * hertz * np.arange(SECONDS * RATE) / RATE + phase)


MOVING = {
    "chorus": lambda x: 0.5 * x + 0.5 * moved(x, 700 + 200 * swing(0.8)),
    "slow flanger": lambda x: 0.5 * x + 0.5 * moved(x, 150 + 140 * swing(0.05, 1)),
    "vibrato": lambda x: moved(x, 300 + 140 * swing(5)),
    "tape": lambda x: moved(x, 100 + 3 * swing(6) + 10 * swing(0.5)),
    "slow wow": lambda x: moved(x, 100 + 20 * swing(0.12)),
}


@pytest.mark.parametrize("effect", MOVING)
def test_no_drift_or_jump_is_reported_for_an_effect_with_a_moving_delay(effect):
    text = complaints(examined(played(), np.tanh(5 * MOVING[effect](played()))))
    assert "drifts" not in text
    assert "jumps" not in text


@pytest.mark.parametrize(
    ("effect", "at_s", "samples"),
    [("clean", 7.0, -512), ("fuzz", 5.0, 40), ("amplifier", 5.0, -512), ("compressor", 7.0, 40)],
)
def test_lost_or_repeated_samples_are_reported_as_a_jump_with_its_place(effect, at_s, samples):
    wet, at = wet_of(effect), int(at_s * RATE)
    if samples < 0:
        wet = np.concatenate([wet[:at], wet[at - samples :], np.zeros(-samples)])
    else:
        wet = np.concatenate([wet[:at], np.zeros(samples), wet[at:-samples]])
    found = examined(played(), wet)
    (step,) = found.steps
    assert step.samples == pytest.approx(samples, abs=3)
    assert abs((step.start + step.stop) / 2 / RATE - at_s) < 0.7
    text = complaints(found)
    told = re.search(r"changes by ([+-]\d+) samples at about ([\d.]+) s", text)
    assert float(told[1]) == pytest.approx(samples, abs=3)
    assert float(told[2]) == pytest.approx(at_s, abs=0.7)
    assert "drifts" not in text
    assert "take" not in text


@pytest.mark.parametrize(("effect", "at_s", "samples"), [("fuzz", 2, 777), ("amplifier", 10, 300), ("fuzz", 10, 2000)])
def test_a_large_loss_near_an_end_is_found(effect, at_s, samples):
    at = at_s * RATE
    found = examined(played(), np.delete(wet_of(effect), slice(at, at + samples)))
    (step,) = found.steps
    assert step.samples == pytest.approx(-samples, abs=12)
    assert abs((step.start + step.stop) / 2 / RATE - at_s) < 0.7


def all_pass(audio):
    """Apply four all-pass stages that turn the phase around 500 Hz."""
    for _ in range(4):
        audio = lfilter([-0.9366, 1], [1, -0.9366], audio)
    return audio


def oversampled(audio):
    return resample_poly(np.tanh(8 * resample_poly(audio, 4, 1)), 1, 4)


DEVICES = {
    **EFFECTS,
    "equaliser": lambda x: lfilter(*butter(2, [100, 4000], "bandpass", fs=RATE), x),
    "low-pass": lambda x: lfilter(*butter(4, 1500, fs=RATE), x),
    "all-pass": all_pass,
    "distorted all-pass": lambda x: all_pass(np.tanh(20 * x)),
    "oversampled": oversampled,
    "room": lambda x: x + 0.02 * np.convolve(x, np.random.default_rng(1).normal(size=4000))[: len(x)],
}
EARLIEST = {"amplifier": 50, "distorted all-pass": 50, "fuzz": 14}


@cache
def short_and_wet(device):
    return played()[: 4 * RATE], DEVICES[device](played()[: 4 * RATE])


@pytest.mark.parametrize(
    ("device", "delay"),
    [*((device, delay) for device in DEVICES for delay in (300, 41.4)), ("clean", -7), ("clean", 0), ("fuzz", -20)],
)
def test_the_removed_delay_never_exceeds_the_true_delay(device, delay):
    dry, wet = short_and_wet(device)
    spectrum = np.fft.rfft(wet, 2 * len(wet))
    turned = spectrum * np.exp(-2j * np.pi * np.arange(len(spectrum)) / (2 * len(wet)) * delay)
    taken = facts.whole_delay(examined(dry, np.fft.irfft(turned)[: len(dry)]))
    assert taken <= delay
    assert taken >= delay - EARLIEST.get(device, 8)
    if device == "clean" and delay == int(delay):
        assert taken == delay


def test_windows_vary_their_place_in_looped_music():
    period = 30 * RATE // 512
    energies = np.tile(np.exp(-np.arange(period) / period), 60)
    places = alignment._places(energies, 512, 60 * period * 512, 0)
    assert len(places) == 24
    assert len({at % (period * 512) for at, _ in places}) > 12


def test_the_smaller_delay_is_preferred_for_a_riff_that_repeats_exactly():
    riff = played()[: RATE // 2] * np.hanning(RATE // 2)
    dry = np.tile(riff, 14)
    found = examined(dry, EFFECTS["fuzz"](dry), max_delay=RATE // 2)
    assert abs(found.delay.samples) < 8
    assert not complaints(found)


def test_no_drift_is_reported_for_a_short_recording():
    dry = played()[: 2 * RATE]
    assert not complaints(examined(dry, np.tanh(5 * dry)))


def test_a_delay_beyond_the_range_is_found_by_the_loudness():
    dry = played()
    for lag in (123_456, -60_000):
        wet = np.concatenate([np.zeros(lag), dry])[: len(dry)] if lag > 0 else np.append(dry[-lag:], np.zeros(-lag))
        found = examined(dry, np.tanh(8 * wet))
        assert found.delay.samples == pytest.approx(lag, abs=1)
        assert ("123456" if lag > 0 else "60000") in complaints(found)
