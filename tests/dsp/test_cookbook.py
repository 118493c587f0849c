"""Coefficients of the standard filters: their responses, and the compiled formulas against those in torch."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nablafx_dsp.functional.cookbook import FORMULAS, HIGHEST, cascade_coefficients
from nablafx_dsp.kernels.cookbook import FRAMES, KINDS
from reference.biquad import prototype_response

ALL = list(FORMULAS)


def settings(batch, frames, dtype=torch.float64, seed=0):
    """Return random cutoffs (some above the highest), quality factors and gains."""
    random = np.random.default_rng(seed)
    ends = (10, 24_000), (0.1, 10), (-24, 24)
    return [torch.tensor(random.uniform(*end, (batch, len(ALL), frames)), dtype=dtype) for end in ends]


@pytest.mark.parametrize("kernels", ["auto", "torch"])
@pytest.mark.parametrize("filter_type", ALL)
@given(cutoff=st.floats(10, 20000), q=st.floats(0.1, 10), gain=st.floats(-24, 24), frequency=st.floats(10, 23000))
def test_responses_are_those_of_the_analogue_prototypes(kernels, filter_type, cutoff, q, gain, frequency):
    values = [torch.full((1, 1, 1), value, dtype=torch.float64) for value in (cutoff, q, gain)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NABLAFX_KERNELS", kernels)
        b0, b1, b2, a1, a2 = cascade_coefficients([filter_type], *values, 48000)[0, 0, :, 0].tolist()
    z = np.exp(-2j * math.pi * frequency / 48000)
    response = (b0 + b1 * z + b2 * z * z) / (1 + a1 * z + a2 * z * z)
    expected = prototype_response(filter_type, frequency, cutoff, q, gain, 48000)
    assert abs(response - expected) < 1e-6 * max(1, abs(expected))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("frames", [1, 7, 2 * FRAMES + 3])
def test_compiled_formulas_and_derivatives_are_those_of_torch(monkeypatch, dtype, frames):
    inputs = [values.requires_grad_() for values in settings(2, frames, dtype)]
    weights = torch.tensor(np.random.default_rng(1).standard_normal((2, len(ALL), 5, frames)))
    results = []
    for kernels in ("auto", "torch"):
        monkeypatch.setenv("NABLAFX_KERNELS", kernels)
        output = cascade_coefficients(ALL, *inputs, 48000)
        results.append([output, *torch.autograd.grad((output * weights).sum(), inputs)])
    assert set(KINDS) == set(FORMULAS)
    for compiled, plain in zip(*results, strict=True):
        assert compiled.shape == plain.shape
        assert compiled.dtype == plain.dtype
        scale = float(plain.detach().abs().max())
        torch.testing.assert_close(compiled, plain, rtol=1e-6, atol=1e-12 * scale)


@pytest.mark.parametrize("needed", [n for n in itertools.product([False, True], repeat=3) if any(n)])
def test_gradients_for_every_subset_of_inputs(needed):
    inputs = [values.requires_grad_(need) for values, need in zip(settings(2, 3), needed, strict=True)]
    inputs[0] = (inputs[0].detach().clamp(max=20_000) / 20_000).requires_grad_(needed[0])  # scaled like others
    assert torch.autograd.gradcheck(
        lambda cutoff, q, gain: cascade_coefficients(ALL, 20_000 * cutoff, q, gain, 48000), inputs
    )


def test_cutoffs_above_the_highest_frequency_are_clamped():
    cutoff, q, gain = settings(2, 20)
    limited = cutoff.clamp(max=HIGHEST * 8000)
    assert not torch.equal(limited, cutoff)
    expected = cascade_coefficients(ALL, limited, q, gain, 8000)
    assert torch.equal(cascade_coefficients(ALL, cutoff, q, gain, 8000), expected)


def test_the_coefficients_of_a_frame_are_contiguous():
    coefficients = cascade_coefficients(ALL, *settings(2, 20), 48000)
    assert coefficients.shape == (2, len(ALL), 5, 20)
    assert coefficients.permute(0, 3, 1, 2).is_contiguous()
