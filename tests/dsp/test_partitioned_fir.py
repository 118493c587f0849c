"""Partitioned convolution equals the plain one, in blocks of any size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import oaconvolve

from nablafx_dsp.functional.partitioned_fir import partitioned_fir, partitions

pytestmark = pytest.mark.slow

every_engine = pytest.mark.parametrize("engine", ["auto", "torch"])
every_dtype = pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-13)])


def noise(*shape, seed=1):
    return torch.tensor(np.random.default_rng(seed).standard_normal(shape))


@every_engine
@every_dtype
@pytest.mark.parametrize("items", [1, 2])
@pytest.mark.parametrize("count", [1, 16, 17, 100, 999])
def test_blocks_of_any_size_give_scipys_convolution(monkeypatch, engine, dtype, tolerance, items, count):
    monkeypatch.setenv("NABLAFX_KERNELS", engine)
    audio, taps = noise(2, 700), noise(items, count, seed=2)
    expected = oaconvolve(audio.numpy(), np.broadcast_to(taps.numpy(), (2, count)), axes=-1)[:, :700]
    response, state, parts = partitions(taps.to(dtype), 16), None, []
    for block in audio.to(dtype).split([1, 14, 1, 16, 40, 0, 3, 625], dim=-1):
        output, state = partitioned_fir(block, response, state)
        parts.append(output)
    found = torch.cat(parts, dim=-1)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(expected).max(), rtol=0)


@given(cuts=st.lists(st.integers(0, 40), min_size=1, max_size=8))
def test_a_stream_is_the_whole(cuts):
    audio, response = noise(2, sum(cuts)), partitions(noise(2, 50), 8)
    whole, last = partitioned_fir(audio, response)
    state, parts = None, []
    for block in audio.split(cuts, dim=-1):
        output, state = partitioned_fir(block, response, state)
        parts.append(output)
    torch.testing.assert_close(torch.cat(parts, dim=-1), whole, rtol=0, atol=1e-13)
    for name, value in last.items():
        torch.testing.assert_close(state[name], value, rtol=0, atol=1e-12)


@every_engine
@pytest.mark.parametrize("items", [1, 2])
def test_gradients_through_output_and_state(monkeypatch, engine, items):
    monkeypatch.setenv("NABLAFX_KERNELS", engine)

    def call(audio, taps):
        response = partitions(taps, 4)
        first, state = partitioned_fir(audio[:, :7], response)
        second, state = partitioned_fir(audio[:, 7:], response, state)
        return first, second, *state.values()

    assert torch.autograd.gradcheck(call, (noise(2, 19).requires_grad_(), noise(items, 14).requires_grad_()))


def test_the_output_is_neither_late_nor_early():
    impulse = torch.zeros(1, 64)
    impulse[0, 5] = 1
    taps = torch.arange(1.0, 31.0)[None]
    output, _ = partitioned_fir(impulse, partitions(taps, 8))
    expected = torch.cat([torch.zeros(1, 5), taps, torch.zeros(1, 29)], dim=-1)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-5)
