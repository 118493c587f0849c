"""The biquad: its coefficients, its recursion, its adjoint."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter

from nablafx_core.errors import ModelError
from nablafx_dsp.functional.biquad import biquad
from nablafx_dsp.functional.cookbook import FORMULAS, biquad_coefficients
from nablafx_dsp.kernels import biquad as recursion
from nablafx_dsp.kernels import biquad_scan as scan
from nablafx_dsp.processors.biquad import TYPES, Biquad
from reference.biquad import biquad as slow
from reference.biquad import prototype_response

every_type = pytest.mark.parametrize("filter_type", TYPES)


def stable(frames, batch=2, seed=0):
    """Random coefficients (batch, 5, frames), poles within radius 0.95."""
    random = np.random.default_rng(seed)
    radius, angle = random.uniform(0.3, 0.95, (batch, frames)), random.uniform(0.1, 3, (batch, frames))
    zeros = random.standard_normal((batch, 3, frames))
    return torch.tensor(np.concatenate([zeros, -2 * (radius * np.cos(angle))[:, None], (radius**2)[:, None]], 1))


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


@pytest.mark.parametrize("frames", [1, 60])
def test_recursion_is_the_difference_equation(frames):
    audio, coefficients, state = noise(2, 60), stable(frames), noise(2, 2)
    output, final = biquad(audio, coefficients, state)
    for item in range(2):
        expected, after = slow(audio[item].numpy(), coefficients[item].expand(5, 60).numpy(), state[item].numpy())
        np.testing.assert_allclose(output[item], expected, atol=1e-12)
        np.testing.assert_allclose(final[item], after, atol=1e-12)


def test_constant_coefficients_are_scipys_filter():
    audio, coefficients = noise(1, 5000), stable(1, batch=1)
    b0, b1, b2, a1, a2 = coefficients[0, :, 0].tolist()
    np.testing.assert_allclose(
        biquad(audio, coefficients)[0][0], lfilter([b0, b1, b2], [1, a1, a2], audio[0]), atol=1e-9
    )


def test_a_low_sharp_filter_is_exact_in_float32():
    audio = noise(1, 480_000).float() * 0.3
    parameters = {"cutoff_hz": torch.tensor([20.0]), "q": torch.tensor([10.0])}
    output, _ = Biquad("lowpass", min_cutoff_hz=20)(audio[:, None], parameters)
    w0 = 2 * math.pi * 20 / 48000
    alpha, c = math.sin(w0) / 20, math.cos(w0)
    b, a = [(1 - c) / 2, 1 - c, (1 - c) / 2], [1 + alpha, -2 * c, 1 - alpha]
    assert np.abs(output[0, 0].numpy() - lfilter(b, a, audio[0].double().numpy())).max() < 1e-6


@pytest.mark.parametrize("needed", [n for n in itertools.product([False, True], repeat=3) if any(n)])
@pytest.mark.parametrize("frames", [1, 12])
def test_gradients_for_every_subset_of_inputs(needed, frames):
    inputs = (noise(2, 12), stable(frames), noise(2, 2))
    inputs = tuple(tensor.clone().requires_grad_(need) for tensor, need in zip(inputs, needed, strict=True))
    assert torch.autograd.gradcheck(biquad, inputs)


def test_gradients_cross_chunks_through_the_state():
    audio, coefficients = noise(2, 50), stable(1).requires_grad_()
    whole = torch.autograd.grad(biquad(audio, coefficients)[0].square().sum(), coefficients)
    first, state = biquad(audio[:, :20], coefficients)
    second, _ = biquad(audio[:, 20:], coefficients, state)
    chunked = torch.autograd.grad(first.square().sum() + second.square().sum(), coefficients)
    torch.testing.assert_close(chunked, whole)


def test_audio_that_does_not_lie_in_order_and_no_audio_at_all():
    audio = noise(2, 60)
    coefficients = stable(1)
    turned = audio.T.contiguous().T
    torch.testing.assert_close(biquad(turned, coefficients)[0], biquad(audio, coefficients)[0], rtol=0, atol=0)
    one = audio[:1, :8].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda one: biquad(one.expand(2, -1), coefficients)[0].sum(0), (one,))
    output, state = biquad(audio[:, :0], coefficients, noise(2, 2))
    assert output.shape == (2, 0)
    torch.testing.assert_close(state, noise(2, 2))


@pytest.mark.parametrize("frames", [1, 700])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_the_scan_is_the_recursion(frames, dtype, tolerance):
    audio, coefficients, state = noise(2, 700).to(dtype), stable(frames), noise(2, 2)
    expected, after = recursion.forward(audio, coefficients, state)
    output, final = scan.forward(audio, coefficients, state)
    torch.testing.assert_close(output, expected, rtol=0, atol=tolerance * float(expected.abs().max()))
    torch.testing.assert_close(final, after)
    grads = noise(2, 700, seed=2).to(dtype), noise(2, 2, seed=3)
    for got, want in zip(
        scan.backward(*grads, audio, expected, coefficients),
        recursion.backward(*grads, audio, expected, coefficients),
        strict=True,
    ):
        assert got.shape == want.shape
        assert got.dtype == want.dtype
        torch.testing.assert_close(got, want, rtol=0, atol=tolerance * float(want.abs().max()))


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


def test_coefficients_of_another_length_are_refused():
    with pytest.raises(ModelError, match=r"\(2, 5, 1\) or \(2, 5, 60\)"):
        biquad(noise(2, 60), stable(59))
