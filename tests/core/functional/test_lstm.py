"""The compiled recurrence has the outputs and gradients of torch, also across several calls."""

from __future__ import annotations

import copy
import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nablafx_core.errors import ModelError
from nablafx_core.functional.lstm import lstm
from nablafx_core.kernels import lstm as kernel
from nablafx_core.kernels import workspace as workspaces
from nablafx_core.nn.block_recurrence import BlockRecurrence


@pytest.fixture(autouse=True)
def _compiled(monkeypatch):
    monkeypatch.delenv("NABLAFX_KERNELS", raising=False)


def problem(batch=3, time=40, inputs=2, hidden=20, num_layers=1, seed=0):
    """Return a network, its input and its state, all of which require gradients."""
    generator = torch.Generator().manual_seed(seed)
    module = nn.LSTM(inputs, hidden, num_layers, batch_first=True)
    for weight in module.parameters():
        weight.data = 0.6 * torch.randn(weight.shape, generator=generator)
    shapes = (batch, time, inputs), (num_layers, batch, hidden), (num_layers, batch, hidden)
    x, h, c = (torch.randn(shape, generator=generator).requires_grad_() for shape in shapes)
    return module, x, (h, c)


def results(run, module, x, state, seed=1):
    """Return outputs, last state, and the gradients of their randomly weighted sum for all inputs and weights."""
    outputs, (h, c) = run(module, x, state)
    generator = torch.Generator().manual_seed(seed)
    total = sum((t * torch.randn(t.shape, generator=generator).to(t)).sum() for t in (outputs, h, c))
    return outputs, h, c, *torch.autograd.grad(total, (x, *state, *module.parameters()))


def in_double(module, x, state):
    double = copy.deepcopy(module).double()
    return results(nn.LSTM.__call__, double, *leaves((x, *state)))


def leaves(tensors):
    x, h, c = (t.detach().double().requires_grad_() for t in tensors)
    return x, (h, c)


def assert_same(found, expected):
    for ours, true in zip(found, expected, strict=True):
        assert ours.dtype == torch.float32 and ours.shape == true.shape
        assert (ours - true).abs().max() <= 1e-5 * max(1.0, float(true.detach().abs().max()))


@given(
    batch=st.integers(1, 17),
    time=st.integers(1, 300),
    inputs=st.integers(1, 18),
    hidden=st.integers(1, 100),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=25)
def test_values_and_gradients_equal_torch(batch, time, inputs, hidden, seed):
    module, x, state = problem(batch, time, inputs, hidden, seed=seed)
    with torch.no_grad():  # as large as networks are made: larger ones amplify rounding without bound
        for weight in module.parameters():
            weight.mul_(min(1.0, hidden**-0.5 / 0.6))
    assert_same(results(lstm, module, x, state), in_double(module, x, state))


def test_several_layers_equal_torch():
    arguments = problem(num_layers=3)
    assert_same(results(lstm, *arguments), in_double(*arguments))


def test_saturated_gates_are_exactly_open_or_closed():
    """A cell with a closed input gate and an open forget gate never changes, and its gradients are finite."""
    module, x, (h, c) = problem(time=300)
    with torch.no_grad():
        for weight in module.parameters():
            weight.zero_()
        module.bias_ih_l0[:20], module.bias_ih_l0[20:40] = -200, 50
    _, _, cell, *grads = results(lstm, module, x, (h, c))
    assert torch.equal(cell, c)
    assert all(grad.isfinite().all() for grad in grads)


def test_nan_stays_nan_and_in_its_item():
    module, x, state = problem()
    with torch.no_grad():
        clean = lstm(module, x, state)[0]
        x[1, 10] = float("nan")
        outputs = lstm(module, x, state)[0]
    assert outputs[1, 10:].isnan().all()
    outputs[1, 10:] = clean[1, 10:]
    assert torch.equal(outputs, clean)


def test_chunks_equal_the_whole_bit_by_bit():
    module, x, state = problem(batch=6, time=100)
    whole, last = lstm(module, x, state)
    parts = []
    for chunk in x.split((1, 33, 66), dim=1):
        part, state = lstm(module, chunk, state)
        parts.append(part)
    assert torch.equal(torch.cat(parts, dim=1), whole)
    assert torch.equal(state[0], last[0]) and torch.equal(state[1], last[1])


def test_gradients_pass_from_chunk_to_chunk():
    module, x, state = problem()

    def chunked(module, x, state):
        first, state = lstm(module, x[:, :13], state)
        second, state = lstm(module, x[:, 13:], state)
        return torch.cat((first, second), dim=1), state

    assert_same(results(chunked, module, x, state), in_double(module, x, state))


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_calls_with_pending_gradients_do_not_affect_each_other(order):
    problems = [problem(seed=seed) for seed in range(2)]
    totals = [lstm(*each)[0].square().sum() for each in problems]
    grads = {n: torch.autograd.grad(totals[n], list(problems[n][0].parameters())) for n in order}
    for n, each in enumerate(problems):
        alone = torch.autograd.grad(lstm(*each)[0].square().sum(), list(each[0].parameters()))
        assert all(torch.equal(a, b) for a, b in zip(grads[n], alone, strict=True))


@pytest.mark.parametrize("hidden", [20, 32])
def test_tensors_that_a_caller_holds_are_not_overwritten(hidden):
    held = [results(lstm, *problem(hidden=hidden, seed=seed)) for seed in range(4)]
    copies = [[t.detach().clone() for t in each] for each in held]
    for seed in range(4, 10):
        results(lstm, *problem(seed=seed))
    assert all(
        torch.equal(a, b) for each, kept in zip(held, copies, strict=True) for a, b in zip(each, kept, strict=True)
    )


def test_memory_is_reused_when_it_is_no_longer_referenced():
    arguments = problem()
    results(lstm, *arguments)
    before = {buffer.data_ptr() for buffer in workspaces._FREE}
    results(lstm, *arguments)
    assert before & {buffer.data_ptr() for buffer in workspaces._FREE}
    outputs, _ = lstm(*arguments)
    free = {buffer.data_ptr() for buffer in workspaces._FREE}
    assert outputs.grad_fn.workspace.values.data_ptr() not in free


def test_gradients_can_be_taken_twice_from_one_graph():
    module, x, state = problem()
    total = lstm(module, x, state)[0].square().sum()
    first = torch.autograd.grad(total, (x, *module.parameters()), retain_graph=True)
    results(lstm, *problem(seed=5))
    again = torch.autograd.grad(total, (x, *module.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_threads_do_not_affect_each_other():
    problems = [problem(batch=4, time=300, hidden=32, seed=seed) for seed in range(4)]
    expected = [results(lstm, *each) for each in problems]
    wrong = []

    def work(number):
        for _ in range(20):
            found = results(lstm, *problems[number])
            if not all(torch.equal(a, b) for a, b in zip(found, expected[number], strict=True)):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("hidden", [20, 32])
def test_outputs_are_the_same_without_gradients(hidden):
    module, x, state = problem(hidden=hidden)
    expected = lstm(module, x, state)
    with torch.no_grad():
        outputs, (h, c) = lstm(module, x, state)
    assert not outputs.requires_grad
    assert torch.equal(outputs, expected[0]) and torch.equal(h, expected[1][0]) and torch.equal(c, expected[1][1])


@pytest.mark.parametrize("wanted", [["x"], ["h"], ["c"], ["w_ih"], ["w_hh"], ["bias"], ["x", "w_hh"]])
def test_gradients_of_only_some_inputs(wanted):
    module, x, (h, c) = problem()
    w_ih, w_hh, bias, _ = module.parameters()
    named = {"x": x, "h": h, "c": c, "w_ih": w_ih, "w_hh": w_hh, "bias": bias}
    every = dict(zip(named, results(lstm, module, x, (h, c))[3:], strict=False))
    for tensor in (x, h, c, *module.parameters()):
        tensor.requires_grad_(False)
    for name in wanted:
        named[name].requires_grad_(True)
    outputs, (hidden, cell) = lstm(module, x, (h, c))
    generator = torch.Generator().manual_seed(1)
    total = sum((t * torch.randn(t.shape, generator=generator)).sum() for t in (outputs, hidden, cell))
    total.backward()
    for name, tensor in named.items():
        assert (tensor.grad is None) if name not in wanted else torch.equal(tensor.grad, every[name])


def test_inputs_need_not_be_contiguous():
    module, x, (h, c) = problem()
    expected = results(lstm, module, x, (h, c))
    strange = x.detach().mT.contiguous().mT.requires_grad_()
    wide = [torch.stack((t.detach(), t.detach()), dim=-1)[..., 0].requires_grad_() for t in (h, c)]
    found = results(lstm, module, strange, tuple(wide))
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_an_inplace_change_before_the_backward_pass_is_an_error():
    module, x, state = problem(hidden=32)
    outputs, _ = lstm(module, x, state)
    with torch.no_grad():
        module.weight_hh_l0.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        outputs.sum().backward()
    module, x, state = problem(hidden=32)
    outputs, _ = lstm(module, x, state)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        outputs.mul_(2).sum().backward()


def test_gradients_of_gradients_are_an_error(monkeypatch):
    module, x, state = problem()
    total = lstm(module, x, state)[0].square().sum()
    with pytest.raises(ModelError, match=r"create_graph=True.*NABLAFX_KERNELS=torch"):
        torch.autograd.grad(total, x, create_graph=True)
    monkeypatch.setenv("NABLAFX_KERNELS", "torch")
    total = lstm(module, x, state)[0].square().sum()
    (grad,) = torch.autograd.grad(total, x, create_graph=True)
    assert torch.autograd.grad(grad.sum(), x)[0].abs().max() > 0


def test_sizes_that_do_not_fit_are_rejected():
    module, x, (h, c) = problem()
    with pytest.raises(RuntimeError, match="input.size"):
        lstm(module, x[..., :1], (h, c))
    with pytest.raises(RuntimeError, match="Expected hidden"):
        lstm(module, x, (h[:, :1], c[:, :1]))


def count_calls(monkeypatch):
    """Return a list that grows with each call of the kernel."""
    calls = []
    original = kernel.forward
    monkeypatch.setattr(kernel, "forward", lambda *arguments: calls.append(original(*arguments)))
    return calls


def uses_the_kernel(monkeypatch, module, x, state):
    calls = count_calls(monkeypatch)
    with torch.no_grad():
        lstm(module, x, state)
    return bool(calls)


def test_the_kernel_is_used_and_can_be_disabled(monkeypatch):
    arguments = problem()
    assert uses_the_kernel(monkeypatch, *arguments)
    monkeypatch.setenv("NABLAFX_KERNELS", "torch")
    assert not uses_the_kernel(monkeypatch, *arguments)


def test_unsupported_lstms_are_computed_by_torch(monkeypatch):
    module, x, (h, c) = problem()
    assert not uses_the_kernel(monkeypatch, module.double(), x.double(), (h.double(), c.double()))
    with torch.autocast("cpu"), monkeypatch.context() as patch:
        patch.setattr(nn.LSTM, "forward", lambda module, x, state: (x, state))  # not every CPU computes in bfloat16
        assert not uses_the_kernel(monkeypatch, module.float(), x, (h, c))
    bare = nn.LSTM(2, 20, batch_first=True, bias=False)
    assert not uses_the_kernel(monkeypatch, bare, x, (h, c))


@pytest.mark.parametrize("lookahead", [True, False])
def test_block_recurrences_use_the_kernel(monkeypatch, lookahead):
    torch.manual_seed(0)
    network = BlockRecurrence(3, 0, 20, num_layers=2, block_size=8, lookahead=lookahead)
    signal = torch.randn(2, 3, 100)
    calls, found = count_calls(monkeypatch), []
    for kernels, expected in (("auto", 4), ("torch", 0)):
        monkeypatch.setenv("NABLAFX_KERNELS", kernels)
        calls.clear()
        state, steps = network.initial_state(2), []
        for part in signal.split(60, -1):  # gradients pass from call to call
            step = network.advance(part, None, state)
            steps.append(step.steps.values)
            state = step.state
        values = torch.cat(steps, dim=-1)
        found.append((values, *torch.autograd.grad(values.square().sum(), list(network.parameters()))))
        assert len(calls) == expected
    for ours, torchs in zip(*found, strict=True):
        torch.testing.assert_close(ours, torchs, atol=1e-5, rtol=1e-5)
