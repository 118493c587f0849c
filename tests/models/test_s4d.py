"""The kernel, chunks and gradients of the state-space layer equal the recurrence and the textbook convolution."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from nablafx_core.config.schema import TrainSettings
from nablafx_core.profiling.peak_memory import peak_memory
from nablafx_core.training.optimizer import optimizer_of
from nablafx_models.s4 import S4
from nablafx_models.s4d import S4D
from reference.nablafx01 import kernel, state_space

pytestmark = pytest.mark.slow

RATE = 48000


def layer(channels=3, states=4, slow=False):
    """Return a fresh layer; a slow one has memories of up to minutes."""
    torch.manual_seed(0)
    made = S4D(channels, states)
    if slow:
        with torch.no_grad():
            made.log_A_real.sub_(torch.linspace(0, 12, states))
    return made


def weights(made):
    return {f"s4.{name}": value.detach().double() for name, value in made.state_dict().items()}


def recurrence(made, u, state=None):
    """Compute s[t] = exp(A dt) s[t-1] + u[t] sample by sample, in float64."""
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
def test_the_layer_equals_the_recurrence(time, slow, resumed):
    made = layer(slow=slow).double()
    u = torch.randn(2, 3, time, generator=torch.Generator().manual_seed(time), dtype=torch.float64)
    start = torch.randn(2, 3, 4, 2, dtype=torch.float64) if resumed else made.initial_state(2)
    expected, after = recurrence(made, u, start)
    for with_gradients in (False, True):
        with torch.set_grad_enabled(with_gradients):
            found, state = made(u, start)
        torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)
        torch.testing.assert_close(state, after, atol=1e-10, rtol=1e-10)


def test_the_layer_equals_the_textbook_convolution():
    made = layer(slow=True).double()
    u = torch.randn(2, 3, 5000, dtype=torch.float64)
    with torch.no_grad():
        found = made(u, made.initial_state(2))[0]
    torch.testing.assert_close(found, state_space(weights(made), "s4.", u), atol=1e-9, rtol=0)
    torch.testing.assert_close(made.kernel(5000), kernel(weights(made), "s4.", 5000), atol=1e-9, rtol=0)


@pytest.mark.parametrize("slow", [False, True])
def test_a_kernel_of_ten_seconds_is_precise_in_float32(slow):
    single = layer(1, 32, slow)
    with torch.no_grad():
        found, exact = single.kernel(10 * RATE), layer(1, 32, slow).double().kernel(10 * RATE)
    exact_from_the_same = kernel(weights(single), "s4.", 10 * RATE)
    assert (exact - exact_from_the_same).abs().max() < 1e-6 * exact.abs().max()
    assert (found.double() - exact_from_the_same).abs().max() < 1e-4 * max(1.0, float(exact.abs().max()))


@pytest.mark.parametrize("slow", [False, True])
def test_ten_minutes_of_stream_are_precise_in_float32(slow):
    """Compare with the recurrence in float64, in blocks of a second and, at the end, sample by sample."""
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


@pytest.mark.parametrize("kernels", ["auto", "torch"])
def test_gradients_equal_those_of_the_textbook_convolution(kernels, monkeypatch):
    monkeypatch.setenv("NABLAFX_KERNELS", kernels)
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


def test_parameters_of_the_recurrence_have_their_own_learning_rate_and_no_weight_decay():
    settings = TrainSettings(learning_rate=0.005, weight_decay=0.01)
    model = S4(num_blocks=2, ssm_learning_rate=0.002)
    groups = optimizer_of(model, settings).param_groups
    found = {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        own = name.rpartition(".")[2] in ("log_dt", "log_A_real", "A_imag")
        assert found[id(parameter)] == ((0.002, 0.0) if own else (0.005, 0.01)), name
    followed = optimizer_of(S4(ssm_learning_rate=None), settings).param_groups
    assert {(group["lr"], group["weight_decay"]) for group in followed} == {(0.005, 0.0), (0.005, 0.01)}


class Operations(TorchDispatchMode):
    """Count the operations of torch that run inside."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += 1
        return function(*args, **(kwargs or {}))


def test_the_number_of_operations_does_not_grow_with_the_chunks(monkeypatch):
    """On a GPU each operation is a launch, which costs more than its arithmetic."""
    monkeypatch.setenv("NABLAFX_KERNELS", "torch")
    made, counts = layer(), []
    for time in (128, 6400):
        with Operations() as operations:
            made(torch.zeros(2, 3, time), made.initial_state(2))[0].sum().backward()
        counts.append(operations.count)
    assert counts[0] == counts[1]


def changed(made, how):
    with torch.no_grad():
        if how == "in place":
            made.log_dt.add_(0.1)
        elif how == "through .data":
            made.C.data.mul_(2.0)
        elif how == "another tensor":
            made.A_imag.data = made.A_imag.data + 0.1
        elif how == "another parameter":
            made.log_A_real = torch.nn.Parameter(made.log_A_real - 1)
        elif how == "loaded":
            made.load_state_dict({name: value + 0.1 for name, value in made.state_dict().items()})
        elif how == "an optimiser":
            optimizer = torch.optim.AdamW(made.parameters(), lr=0.1, foreach=True)
            for parameter in made.parameters():
                parameter.grad = torch.ones_like(parameter)
            optimizer.step()
        elif how == "another precision":
            made.double()


CHANGES = ["in place", "through .data", "another tensor", "another parameter", "loaded", "an optimiser"]


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("how", [*CHANGES, "another precision"])
def test_changed_parameters_take_effect_at_once(how, mode):
    made = layer(slow=True)
    u = torch.randn(2, 3, 70)
    with mode():
        before = made(u, made.initial_state(2))[0]
    others = [copy.deepcopy(made), pickle.loads(pickle.dumps(made))]
    changed(made, how)
    u = u.to(made.D.dtype)
    expected, after = recurrence(made, u)
    with mode():
        found, state = made(u, made.initial_state(2))
        kept = [other(u.float(), other.initial_state(2))[0] for other in others]
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(state, after, atol=1e-8, rtol=1e-8)
    assert all(torch.equal(again, before) for again in kept)
    assert how == "another precision" or not torch.allclose(found, before)
    assert set(made.state_dict()) == {"log_dt", "C", "log_A_real", "A_imag", "D"}


@pytest.mark.parametrize("channels", [1, 16, 17, 40])
@pytest.mark.parametrize("states", [1, 5])
def test_samples_and_chunks_give_the_same_output(channels, states):
    made = layer(channels, states).double()
    u = torch.randn(3, channels, 300, dtype=torch.float64)
    start = torch.randn(3, channels, states, 2, dtype=torch.float64)
    kept = start.clone()
    with torch.no_grad():
        for ours, theirs in zip(made._in_samples(u, start), made._in_chunks(u, start), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-11, rtol=1e-11)
    assert torch.equal(start, kept)


@pytest.mark.parametrize("with_gradients", [False, True])
def test_an_exported_layer_accepts_other_parameters_and_states(with_gradients):
    made = layer()
    u, start = torch.randn(2, 3, 200), made.initial_state(2)
    with torch.set_grad_enabled(with_gradients):
        made(u, start)
        exported = torch.export.export(made, (torch.zeros_like(u), start)).module()
        changed(made, "in place")
        exported.load_state_dict(made.state_dict())
        for found, expected in zip(exported(u, start + 1), made(u, start + 1), strict=True):
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("blocks", "states"), [(4, 4), (8, 32)])
def test_a_training_step_keeps_at_most_four_signals_per_block(blocks, states):
    torch.manual_seed(0)
    model = S4(num_blocks=blocks, num_states=states)
    audio, target = torch.randn(2, 4, 1, 65536)

    def step(time):
        (model(audio[..., :time])[0] - target[..., :time]).square().mean().backward()

    step(256)  # compiles, and allocates the gradients
    of_a_signal = audio.numel() * model.expand.out_features * 4
    assert peak_memory(lambda: step(65536), torch.device("cpu")) <= 4 * blocks * of_a_signal
