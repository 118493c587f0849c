"""Networks with sine activations: the compiled one has the values and gradients of its formula."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nablafx_dsp.functional.siren import siren
from nablafx_dsp.nn.siren import Siren


def made(hidden_size=32, num_layers=3, w0=30.0):
    torch.manual_seed(0)
    return Siren(hidden_size, num_layers, w0)


def values_and_gradients(function, values, w0, parameters, gradient, dtype):
    leaves = [tensor.detach().to(dtype).requires_grad_() for tensor in (values, *parameters)]
    y = function(leaves[0], w0, *leaves[1:])
    return [y.detach(), *torch.autograd.grad(y, leaves, gradient.to(dtype))]


@pytest.mark.parametrize(("hidden_size", "num_layers"), [(32, 3), (8, 2), (4, 1), (12, 4), (6, 2)])
@pytest.mark.parametrize("shape", [(0,), (1,), (2, 63), (129,), (2, 1, 500)])
@pytest.mark.parametrize("threads", [1, 2])
def test_it_is_its_formula(hidden_size, num_layers, shape, threads):
    net, before = made(hidden_size, num_layers), torch.get_num_threads()
    values, gradient = torch.randn(shape) * 2, torch.randn(shape)

    def ours(values, w0, *parameters):
        named = dict(zip(dict(net.named_parameters()), parameters, strict=True))
        return torch.func.functional_call(net, named, (values,))

    torch.set_num_threads(threads)
    found = values_and_gradients(ours, values, 30.0, net.parameters(), gradient, torch.float32)
    torch.set_num_threads(before)
    wanted = values_and_gradients(siren, values, 30.0, net.parameters(), gradient, torch.float64)
    for single, double in zip(found, wanted, strict=True):
        assert single.shape == double.shape
        peak = max(1.0, float(double.abs().max())) if double.numel() else 1.0
        torch.testing.assert_close(single.double(), double, rtol=0, atol=3e-5 * peak)


def test_layers_of_different_sizes_give_the_formula_too():
    torch.manual_seed(0)
    sizes = [1, 8, 4, 1]
    layers = [torch.nn.Linear(size_in, size_out) for size_in, size_out in pairwise(sizes)]
    parameters = [tensor.detach() for layer in layers for tensor in (layer.weight, layer.bias)]
    values = torch.randn(200)
    wanted = siren(values.double(), 3.0, *(tensor.double() for tensor in parameters))
    torch.testing.assert_close(siren(values, 3.0, *parameters).double(), wanted, rtol=0, atol=1e-5)


def test_fast_sines_are_sines():
    """A network with a single unit of weight w0 is the sine of its input, of any size."""
    net = Siren(4, 1, 1.0)
    with torch.no_grad():
        for weights in net.parameters():
            weights.zero_()
        net.layers[0].weight[0], net.last_layer.weight[0, 0] = 1, 1
    for reach in (3.2, 1000.0):
        x = torch.linspace(-reach, reach, 100_001, requires_grad=True)
        y = net(x)
        torch.testing.assert_close(y.double(), x.double().sin(), rtol=0, atol=1e-6)
        (slope,) = torch.autograd.grad(y.sum(), x)
        torch.testing.assert_close(slope.double(), x.double().cos(), rtol=0, atol=1e-6)


@given(cuts=st.lists(st.integers(0, 300), min_size=1, max_size=5))
def test_a_signal_cut_anywhere_has_the_same_bits(cuts):
    net, values = made(), torch.randn(sum(cuts))
    assert torch.equal(torch.cat([net(part) for part in values.split(cuts)]), net(values))


@pytest.mark.parametrize("needed", [(True, False), (False, True)])
def test_only_tensors_that_require_a_gradient_get_one(needed):
    net = made(4, 2).requires_grad_(needed[1])
    values = torch.randn(10).requires_grad_(needed[0])
    net(values).sum().backward()
    assert (values.grad is not None) == needed[0]
    assert all((p.grad is not None) == needed[1] for p in net.parameters())


def test_gradients_of_second_order_are_those_of_torchs_operations(monkeypatch):
    net, values, found = made(8, 2, 3.0), torch.randn(20, requires_grad=True), []
    for kernels in ("auto", "torch"):
        monkeypatch.setenv("NABLAFX_KERNELS", kernels)
        y = net(values)
        (slope,) = torch.autograd.grad(y.sum(), values, create_graph=True)
        found.append(torch.autograd.grad(slope.square().sum(), [values, *net.parameters()], allow_unused=True))
    for ours, expected in zip(*found, strict=True):
        assert (ours is None) == (expected is None)
        if ours is not None:
            torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-4)
