"""The biquad: its coefficients and the processor."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter

from nablafx_core.errors import ModelError
from nablafx_dsp.functional.cookbook import FORMULAS, biquad_coefficients
from nablafx_dsp.processors.biquad import TYPES, Biquad
from reference.biquad import prototype_response

every_type = pytest.mark.parametrize("filter_type", TYPES)


def noise(*shape, seed=1):
    return torch.tensor(np.random.default_rng(seed).standard_normal(shape))


@every_type
@given(cutoff=st.floats(10, 20000), q=st.floats(0.1, 10), gain=st.floats(-24, 24), frequency=st.floats(10, 23000))
def test_responses_are_those_of_the_analogue_prototypes(filter_type, cutoff, q, gain, frequency):
    values = [torch.tensor([value], dtype=torch.float64) for value in (cutoff, q, gain)]
    b0, b1, b2, a1, a2 = biquad_coefficients(filter_type, values[0], values[1], 48000, values[2])[0, :, 0].tolist()
    z = np.exp(-2j * math.pi * frequency / 48000)
    response = (b0 + b1 * z + b2 * z * z) / (1 + a1 * z + a2 * z * z)
    expected = prototype_response(filter_type, frequency, cutoff, q, gain, 48000)
    assert abs(response - expected) < 1e-6 * max(1, abs(expected))


def test_a_low_sharp_filter_is_exact_in_float32():
    audio = noise(1, 480_000).float() * 0.3
    parameters = {"cutoff_hz": torch.tensor([20.0]), "q": torch.tensor([10.0])}
    output, _ = Biquad("lowpass", min_cutoff_hz=20)(audio[:, None], parameters)
    w0 = 2 * math.pi * 20 / 48000
    alpha, c = math.sin(w0) / 20, math.cos(w0)
    b, a = [(1 - c) / 2, 1 - c, (1 - c) / 2], [1 + alpha, -2 * c, 1 - alpha]
    assert np.abs(output[0, 0].numpy() - lfilter(b, a, audio[0].double().numpy())).max() < 1e-6


@every_type
def test_frequencies_beyond_the_range_of_the_sample_rate_are_clamped_with_a_warning(filter_type):
    with pytest.warns(UserWarning, match="above 7840 Hz is clamped"):
        processor = Biquad(filter_type, sample_rate=16000, max_cutoff_hz=12000)
    audio = noise(1, 100)[:, None]
    values = {p.name: torch.tensor([1.0]) for p in processor.effect_parameters}
    high, highest = (processor(audio, values | {"cutoff_hz": torch.tensor([hz])})[0] for hz in (12000.0, 7840.0))
    torch.testing.assert_close(high, highest, rtol=0, atol=0)


def test_ranges_and_curves_are_settings():
    perceptual, linear = Biquad("peaking"), Biquad("peaking", curves="linear", min_q=1)
    assert [p.name for p in perceptual.effect_parameters] == ["gain_db", "cutoff_hz", "q"]
    assert [round(p.from_unit(0.5)) for p in perceptual.effect_parameters] == [0, 632, 1]
    assert [p.from_unit(0.5) for p in linear.effect_parameters] == [0, 10010, 5.5]
    assert [p.name for p in Biquad("lowpass").effect_parameters] == ["cutoff_hz", "q"]
    assert set(TYPES) == set(FORMULAS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"type": "comb"}, "no type 'comb'"), ({"type": "peaking", "min_q": 0.0}, "must be above 0")],
)
def test_what_makes_no_filter_is_refused(arguments, message):
    with pytest.raises(ModelError, match=message):
        Biquad(**arguments)
