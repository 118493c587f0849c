"""Maxima of blocks: values and gradients are torch's own."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nablafx_core.functional.block_maxima import block_maxima


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5), st.integers(1, 40), st.booleans())
def test_values_and_gradients(dtype, batch, channels, count, size, transposed):
    generator = torch.Generator().manual_seed(size)
    signal = torch.randn(batch, channels, count * size, generator=generator, dtype=dtype)
    if transposed:  # as a state-space layer leaves it
        signal = signal.transpose(0, 1).contiguous().transpose(0, 1)
    weights = [torch.randn(batch, channels, count, generator=generator, dtype=dtype)]
    weights.append(torch.randn(batch, channels, count, size, generator=generator, dtype=dtype))
    found = []
    for plain in (True, False):
        leaf = signal.clone().requires_grad_()
        blocks = leaf.unflatten(-1, (-1, size))
        out = (blocks.amax(-1), blocks) if plain else block_maxima(leaf, size)
        total = sum((weight * part).sum() for weight, part in zip(weights, out, strict=True))
        found.append((*out, *torch.autograd.grad(total, leaf)))
    for expected, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-6)


def test_no_blocks():
    maxima, blocks = block_maxima(torch.zeros(2, 3, 0), 8)
    assert maxima.shape == (2, 3, 0)
    assert blocks.shape == (2, 3, 0, 8)
