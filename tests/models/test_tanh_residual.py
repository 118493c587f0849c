"""tanh plus a residual: values and gradients."""

from __future__ import annotations

import torch

from nablafx_models.functional.tanh_residual import tanh_residual


def test_values_and_gradients():
    generator = torch.Generator().manual_seed(0)
    y, x = (3 * torch.randn(2, 3, 50, generator=generator, dtype=torch.float64) for _ in range(2))
    gain = torch.randn(3, 1, generator=generator, dtype=torch.float64)
    inputs = [tensor.requires_grad_() for tensor in (y, x, gain)]
    assert torch.autograd.gradcheck(tanh_residual, inputs)
    torch.testing.assert_close(tanh_residual(*inputs), torch.tanh(y) + gain * x)
