"""Finite impulse responses: the sum, its gradients, and the path in the frequency domain."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter, oaconvolve

from nablafx_core.errors import ModelError
from nablafx_dsp.functional.fir import LONG, fir
from reference.fir import fir as slow

pytestmark = pytest.mark.slow

#: Of the peak.
BOTH = {torch.float32: 1e-6, torch.float64: 1e-14}
every_dtype = pytest.mark.parametrize(("dtype", "tolerance"), BOTH.items())


def noise(*shape, seed=1, dtype=torch.float64):
    return torch.tensor(np.random.default_rng(seed).standard_normal(shape)).to(dtype)


@every_dtype
@pytest.mark.parametrize("engine", ["auto", "torch"])
@pytest.mark.parametrize(("shared", "count"), [(True, 1), (True, 5), (False, 17), (False, 64)])
def test_it_is_the_sum(monkeypatch, dtype, tolerance, engine, shared, count):
    monkeypatch.setenv("NABLAFX_KERNELS", engine)
    shapes = (3, 70), (1 if shared else 3, count), (3, count - 1)
    audio, taps, past = (noise(*shape, seed=n).to(dtype) for n, shape in enumerate(shapes))
    output, after = fir(audio, taps, past)
    assert output.dtype == after.dtype == dtype
    for item in range(3):
        each = audio[item], taps[0 if shared else item], past[item]
        expected, last = slow(*(signal.double().numpy() for signal in each))
        np.testing.assert_allclose(output[item], expected, rtol=0, atol=tolerance * np.abs(expected).max())
        np.testing.assert_allclose(after[item], last, rtol=1e-7)


@every_dtype
@pytest.mark.parametrize("count", [64, LONG, LONG + 1, 3000])
@pytest.mark.parametrize("time", [1, 700, 20_000])
def test_it_is_the_filter_of_scipy(dtype, tolerance, count, time):
    audio, taps = noise(2, time).to(dtype), (noise(1, count) * torch.linspace(1, 0, count)).to(dtype)
    output, _ = fir(audio, taps)
    for expected in (
        oaconvolve(audio.double().numpy(), taps.double().numpy(), axes=-1)[:, :time],
        lfilter(taps[0].double(), 1, audio.double()),
    ):
        np.testing.assert_allclose(output, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@every_dtype
@given(cuts=st.lists(st.integers(0, 150), min_size=1, max_size=5), count=st.sampled_from([1, 2, 64, LONG]))
def test_a_stream_has_the_same_bits_as_the_whole(dtype, tolerance, cuts, count):
    audio, taps = noise(2, sum(cuts), dtype=dtype), noise(2, count, dtype=dtype)
    whole, last = fir(audio, taps)
    state, parts = None, []
    for block in audio.split(cuts, dim=-1):
        output, state = fir(block, taps, state)
        parts.append(output)
    assert torch.equal(torch.cat(parts, dim=-1), whole)
    assert torch.equal(state, last)


def test_a_stream_of_a_long_response_is_the_whole():
    audio, taps, parts, state = noise(2, 4000), noise(2, 1500), [], None
    for block in audio.split([1, 63, 2000, 1936], dim=-1):
        output, state = fir(block, taps, state)
        parts.append(output)
    torch.testing.assert_close(torch.cat(parts, dim=-1), fir(audio, taps)[0], rtol=0, atol=1e-11)


@pytest.mark.parametrize("needed", [n for n in itertools.product([False, True], repeat=3) if any(n)])
@pytest.mark.parametrize("shared", [True, False])
def test_gradients_for_every_subset_of_inputs(needed, shared):
    inputs = (noise(2, 80), noise(1 if shared else 2, 6), noise(2, 5, seed=2))
    inputs = tuple(tensor.clone().requires_grad_(need) for tensor, need in zip(inputs, needed, strict=True))
    assert torch.autograd.gradcheck(fir, inputs)


def test_gradients_of_a_long_response():
    taps = noise(1, LONG + 30).requires_grad_()
    audio = noise(2, 40).requires_grad_()
    assert torch.autograd.gradcheck(fir, (audio, taps, noise(2, LONG + 29, seed=2).requires_grad_()), fast_mode=True)


def test_gradients_cross_chunks_through_the_state():
    audio, taps = noise(2, 50), noise(1, 8).requires_grad_()
    whole = torch.autograd.grad(fir(audio, taps)[0].square().sum(), taps)
    first, state = fir(audio[:, :20], taps)
    second, _ = fir(audio[:, 20:], taps, state)
    chunked = torch.autograd.grad(first.square().sum() + second.square().sum(), taps)
    torch.testing.assert_close(chunked, whole)


def test_shapes_that_do_not_match_are_refused():
    with pytest.raises(ModelError, match=r"\(2, taps\) or \(1, taps\)"):
        fir(noise(2, 10), noise(3, 4))
    with pytest.raises(ModelError, match=r"fir: .* state .*\(2, 3\) .*\(2, 4\)"):
        fir(noise(2, 10), noise(2, 4), noise(2, 4))
