"""A phase shift delays every frequency by the same angle, compared with the analytic signal of scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import signal

from nablafx_core.errors import ModelError
from nablafx_dsp.functional.hilbert import hilbert_taps
from nablafx_dsp.processors.phase_shift import PhaseShift

RATE = 48_000


def shifted(processor, audio, degrees):
    angle = torch.full((len(audio),), float(degrees), dtype=audio.dtype)
    return processor(audio, {"shift_deg": angle})[0]


@pytest.mark.parametrize("degrees", [-120, -90, 0, 37.5, 90, 180])
def test_it_is_a_rotation_of_the_analytic_signal(degrees):
    """Compare noise between 100 Hz and 20 kHz, without the ends, where the two assume different pasts."""
    random = np.random.default_rng(0)
    band = signal.butter(8, [200, 20_000], "bandpass", fs=RATE, output="sos")
    audio = signal.sosfiltfilt(band, random.standard_normal(30_000))
    analytic = signal.hilbert(audio)
    expected = (analytic * np.exp(-1j * math.radians(degrees))).real
    found = shifted(PhaseShift(RATE).double(), torch.from_numpy(audio.copy())[None, None], degrees)[0, 0].numpy()
    inner = slice(2000, -2000)
    assert np.abs(found - expected)[inner].max() < 4e-3 * np.abs(expected).max()


def test_a_cosine_is_delayed_by_the_angle():
    time = torch.arange(20_000, dtype=torch.float64) / RATE
    found = shifted(PhaseShift(RATE).double(), torch.cos(2 * torch.pi * 440 * time)[None, None], 60)[0, 0]
    expected = torch.cos(2 * torch.pi * 440 * time - math.pi / 3)
    assert (found - expected)[2000:-2000].abs().max() < 3e-3


@pytest.mark.parametrize(("lowest", "rate"), [(80.0, 48_000), (20.0, 44_100), (200.0, 96_000), (300.0, 8_000)])
def test_the_response_is_flat_in_its_band(lowest, rate):
    processor = PhaseShift(rate, lowest_hz=lowest)
    frequencies = np.geomspace(lowest, rate / 2 - lowest, 500)
    _, response = signal.freqz(hilbert_taps(processor.latency), worN=frequencies, fs=rate)
    turned = response * np.exp(2j * np.pi * frequencies / rate * processor.latency)
    assert np.abs(turned + 1j).max() < 2.5e-3


def test_neutral_and_inverting_angles_are_exact():
    audio = torch.randn(2, 1, 3000, dtype=torch.float64)
    processor = PhaseShift(RATE).double()
    assert torch.equal(shifted(processor, audio, 0), audio)
    torch.testing.assert_close(shifted(processor, audio, 180), -audio, rtol=0, atol=1e-14)


def test_previous_sample_is_the_formula_of_nablafx():
    audio = torch.randn(1, 1, 50, dtype=torch.float64)
    found = shifted(PhaseShift(RATE, quadrature="previous_sample"), audio, 30)
    before = torch.nn.functional.pad(audio[..., :-1], (1, 0))
    torch.testing.assert_close(found, math.cos(math.pi / 6) * audio + 0.5 * before, rtol=0, atol=1e-15)


@pytest.mark.parametrize("lowest", [0.0, 0.5, 12_000.0, float("nan")])
def test_a_band_outside_its_limits_is_refused(lowest):
    with pytest.raises(ModelError, match="lowest_hz .* 1 Hz .* 12000 Hz"):
        PhaseShift(RATE, lowest_hz=lowest)
