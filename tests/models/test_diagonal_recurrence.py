"""The state that is carried from chunk to chunk, and its adjoint, in torch and compiled."""

from __future__ import annotations

import pytest
import torch

from nablafx_models.functional import diagonal_recurrence as recurrence


def carried(chunks, dtype=torch.float64):
    """Return inputs of a carry, in which one state never decays, and gradients of its outputs."""
    generator = torch.Generator().manual_seed(chunks)
    x, gradient = (torch.randn(3, 2, chunks, 4, 2, generator=generator, dtype=dtype) for _ in range(2))
    start, at_end = (torch.randn(3, 2, 4, 2, generator=generator, dtype=torch.float64) for _ in range(2))
    turns = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    return (
        x,
        start,
        torch.complex(torch.tensor([-200.0, -1.0, -0.01, 0.0]).double().expand(3, 4), turns),
        gradient,
        at_end,
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("chunks", [1, 2, 50, 1031])
def test_the_torch_path_and_the_compiled_path_carry_the_same_state(chunks, dtype):
    x, start, log_decay, gradient, at_end = carried(chunks, dtype)
    found = []
    for forward, backward in (
        (recurrence._carry_torch, recurrence._carry_back_torch),
        (recurrence._carry_compiled, recurrence._carry_back_compiled),
    ):
        entering, end = forward(x, start, log_decay)
        found.append((entering, end, *backward(gradient, at_end, entering, log_decay)))
    for in_torch, in_compiled in zip(*found, strict=True):
        assert in_torch.dtype == in_compiled.dtype
        atol = (1e-12 if dtype == torch.float64 else 1e-6) * max(1.0, float(in_compiled.abs().max()))
        torch.testing.assert_close(in_torch, in_compiled, atol=atol, rtol=0)


@pytest.mark.parametrize("chunks", [1, 5, 40])
def test_the_adjoint_of_the_carried_state_is_its_gradient(chunks):
    x, start, log_decay, gradient, at_end = carried(chunks)
    inputs = [tensor.requires_grad_() for tensor in (x, start, log_decay)]
    assert torch.autograd.gradcheck(recurrence._carry_torch, inputs, fast_mode=True)
    entering, end = recurrence._carry_torch(*inputs)
    expected = torch.autograd.grad((entering, end), inputs, (gradient, at_end))
    for backward in (recurrence._carry_back_torch, recurrence._carry_back_compiled):
        found = backward(gradient, at_end, entering.detach(), log_decay.detach())
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)
