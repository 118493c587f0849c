"""The state-space layer: its kernel, chunks and gradients against the recurrence and the textbook convolution."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nablafx_core.training.optimizer import optimizer_of
from nablafx_core.training.settings import TrainSettings
from nablafx_models.kernels import carry
from nablafx_models.s4 import S4
from nablafx_models.ssm import S4D
from reference.nablafx01 import kernel, state_space

RATE = 48000


def layer(channels=3, states=4, slow=False):
    """A layer at its first weights; a slow one has memories of up to minutes."""
    torch.manual_seed(0)
    made = S4D(channels, states)
    if slow:
        with torch.no_grad():
            made.log_A_real.sub_(torch.linspace(0, 12, states))
    return made


def weights(made):
    return {f"s4.{name}": value.detach().double() for name, value in made.state_dict().items()}


def recurrence(made, u, state=None):
    """s[t] = exp(A dt) s[t-1] + u[t], sample by sample, in float64."""
    w = weights(made)
    a = torch.complex(-torch.exp(w["s4.log_A_real"]), w["s4.A_imag"])
    step = a * torch.exp(w["s4.log_dt"])[:, None]
    decay, readout = torch.exp(step), torch.view_as_complex(w["s4.C"]) * (torch.exp(step) - 1) / a
    s = torch.zeros(u.shape[0], *a.shape, dtype=torch.complex128) if state is None else torch.view_as_complex(state)
    out = []
    for sample in u.double().unbind(-1):
        s = decay * s + sample[..., None]
        out.append(2 * (readout * s).sum(-1).real + w["s4.D"] * sample)
    return torch.stack(out, -1), torch.view_as_real(s)


@settings(max_examples=30)
@given(time=st.integers(1, 400), slow=st.booleans(), resumed=st.booleans())
def test_it_is_the_recurrence(time, slow, resumed):
    made = layer(slow=slow).double()
    u = torch.randn(2, 3, time, generator=torch.Generator().manual_seed(time), dtype=torch.float64)
    start = torch.randn(2, 3, 4, 2, dtype=torch.float64) if resumed else made.initial_state(2)
    expected, after = recurrence(made, u, start)
    found, state = made(u, start)
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(state, after, atol=1e-10, rtol=1e-10)


def test_it_is_the_textbook_convolution():
    made = layer(slow=True).double()
    u = torch.randn(2, 3, 5000, dtype=torch.float64)
    with torch.no_grad():
        found = made(u, made.initial_state(2))[0]
    torch.testing.assert_close(found, state_space(weights(made), "s4.", u), atol=1e-9, rtol=0)
    torch.testing.assert_close(made.kernel(5000), kernel(weights(made), "s4.", 5000), atol=1e-9, rtol=0)


@pytest.mark.parametrize("slow", [False, True])
def test_a_kernel_of_ten_seconds_in_single_precision(slow):
    single = layer(2, 32, slow)
    with torch.no_grad():
        found, exact = single.kernel(10 * RATE), layer(2, 32, slow).double().kernel(10 * RATE)
    exact_from_the_same = kernel(weights(single), "s4.", 10 * RATE)
    assert (exact - exact_from_the_same).abs().max() < 1e-6 * exact.abs().max()
    assert (found.double() - exact_from_the_same).abs().max() < 1e-4 * max(1.0, float(exact.abs().max()))


@pytest.mark.parametrize("slow", [False, True])
def test_ten_minutes_of_stream_in_single_precision(slow):
    """Against the recurrence in float64, in blocks of 64 and, at the end, sample by sample."""
    single = layer(1, 8, slow)
    exact = layer(1, 8, slow).double()
    generator = torch.Generator().manual_seed(0)
    state, wide = single.initial_state(1), exact.initial_state(1)
    worst, peak = 0.0, 1.0
    with torch.no_grad():
        for _ in range(10 * 60):
            u = torch.randn(1, 1, RATE, generator=generator)
            found, state = single(u, state)
            expected, wide = exact(u.double(), wide)
            worst, peak = max(worst, float((found - expected).abs().max())), max(peak, float(expected.abs().max()))
        for sample in torch.randn(1, 1, 200, generator=generator).split(1, dim=-1):
            found, state = single(sample, state)
            expected, wide = recurrence(exact, sample, wide)
            worst = max(worst, float((found - expected).abs().max()))
    assert worst < 1e-4 * peak


def test_gradients():
    made = layer(2, 3).double()
    names = [name for name, _ in made.named_parameters()]
    u = torch.randn(2, 2, 150, dtype=torch.float64, requires_grad=True)
    start = torch.randn(2, 2, 3, 2, dtype=torch.float64, requires_grad=True)

    def call(u, start, *parameters):
        return torch.func.functional_call(made, dict(zip(names, parameters, strict=True)), (u, start))

    assert torch.autograd.gradcheck(call, (u, start, *made.parameters()), fast_mode=True)
    audio = torch.randn(2, 2, 900, dtype=torch.float64)
    ours = torch.autograd.grad(made(audio, made.initial_state(2))[0].square().mean(), list(made.parameters()))
    w = {f"s4.{name}": value for name, value in made.named_parameters()}
    textbook = torch.autograd.grad(state_space(w, "s4.", audio).square().mean(), list(made.parameters()))
    for found, expected in zip(ours, textbook, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-11, rtol=1e-8)


def test_the_parameters_of_its_memory_have_their_own_learning_rate_and_no_weight_decay():
    settings = TrainSettings(learning_rate=0.005, weight_decay=0.01)
    model = S4(num_blocks=2, ssm_learning_rate=0.002)
    groups = optimizer_of(model, settings).param_groups
    found = {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        own = name.rpartition(".")[2] in ("log_dt", "log_A_real", "A_imag")
        assert found[id(parameter)] == ((0.002, 0.0) if own else (0.005, 0.01)), name
    followed = optimizer_of(S4(ssm_learning_rate=None), settings).param_groups
    assert {(group["lr"], group["weight_decay"]) for group in followed} == {(0.005, 0.0), (0.005, 0.01)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_carried_state_is_the_same_in_torch_and_compiled(dtype):
    generator = torch.Generator().manual_seed(0)
    x, gradient = (torch.randn(3, 2, 50, 4, 2, generator=generator, dtype=dtype) for _ in range(2))
    start, at_end = (torch.randn(3, 2, 4, 2, generator=generator, dtype=torch.float64) for _ in range(2))
    decay = torch.randn(3, 4, 2, generator=generator, dtype=torch.float64) * 0.5
    found = []
    for forward, backward in (
        (carry._forward_torch, carry._backward_torch),
        (carry._forward_numba, carry._backward_numba),
    ):
        entering, end = torch.empty_like(x), start.clone()
        forward(x, decay, entering, end)
        of_x, carried, of_decay = torch.empty_like(x), at_end.clone(), torch.zeros_like(decay)
        backward(gradient, entering, decay, of_x, carried, of_decay)
        found.append((entering, end, of_x, carried, of_decay))
    for in_torch, in_numba in zip(*found, strict=True):
        torch.testing.assert_close(in_torch, in_numba, atol=1e-12 if dtype == torch.float64 else 1e-5, rtol=1e-6)
    inputs = (x.double().requires_grad_(), start.requires_grad_(), decay.requires_grad_())
    assert torch.autograd.gradcheck(carry.Carry.apply, inputs, fast_mode=True)
