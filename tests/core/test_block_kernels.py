"""Maxima of blocks, and scaling and shifting them: values and gradients are torch's own."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nablafx_core.kernels.blocks import block_maxima, scaled_and_shifted


def both(signal, scale, shift, size, plain):
    if plain:
        blocks = signal.unflatten(-1, (-1, size))
        return blocks.amax(-1), blocks * scale[..., None] + shift[..., None]
    maxima, blocks = block_maxima(signal, size)
    return maxima, scaled_and_shifted(blocks, scale, shift)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5), st.integers(1, 40), st.booleans())
def test_values_and_gradients(dtype, batch, channels, count, size, transposed):
    generator = torch.Generator().manual_seed(size)
    signal = torch.randn(batch, channels, count * size, generator=generator, dtype=dtype)
    if transposed:  # as a state-space layer leaves it
        signal = signal.transpose(0, 1).contiguous().transpose(0, 1)
    vectors = [torch.randn(batch, channels, count, generator=generator, dtype=dtype) for _ in range(2)]
    weights = [torch.randn(batch, channels, count, generator=generator, dtype=dtype)]
    weights.append(torch.randn(batch, channels, count, size, generator=generator, dtype=dtype))
    found = []
    for plain in (True, False):
        leaves = [tensor.clone().requires_grad_() for tensor in (signal, *vectors)]
        out = both(*leaves, size, plain)
        total = sum((weight * part).sum() for weight, part in zip(weights, out, strict=True))
        found.append((*out, *torch.autograd.grad(total, leaves)))
    for expected, ours in zip(*found, strict=True):
        tolerance = 1e-12 if dtype == torch.float64 else 1e-5
        torch.testing.assert_close(ours, expected, atol=tolerance * size, rtol=tolerance)


def test_turned_off(monkeypatch):
    monkeypatch.setenv("NABLAFX_KERNELS", "torch")
    blocks, vector = torch.randn(2, 3, 4, 5, requires_grad=True), torch.randn(2, 3, 4)
    out = scaled_and_shifted(blocks, vector, vector)
    assert "Affine" not in type(out.grad_fn).__name__
    torch.testing.assert_close(out, blocks * vector[..., None] + vector[..., None])


def test_no_blocks():
    maxima, blocks = block_maxima(torch.zeros(2, 3, 0), 8)
    assert maxima.shape == (2, 3, 0)
    assert scaled_and_shifted(blocks, maxima, maxima).shape == (2, 3, 0, 8)
