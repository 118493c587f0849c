"""Rational functions equal their definition, have no poles, and initially approximate a function."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given
from hypothesis import strategies as st

from nablafx_core.errors import ModelError
from nablafx_core.functional.rational import rational, textbook
from nablafx_core.nn.activation import activation
from nablafx_core.nn.rational import Rational, fitted_rational

X = torch.linspace(-3, 3, 2001, dtype=torch.float64)
NEAR = {"tanh": 1e-6, "gelu": 1e-3, "relu": 0.03, "leaky_relu": 0.03, "elu": 1e-3, "silu": 1e-6, "sigmoid": 1e-6}
KNOWN = {"tanh": torch.tanh, "gelu": torch.nn.functional.gelu, "relu": torch.relu, "silu": torch.nn.functional.silu}
KNOWN |= {"leaky_relu": torch.nn.functional.leaky_relu, "elu": torch.nn.functional.elu, "sigmoid": torch.sigmoid}


@pytest.mark.parametrize("quotient", [rational, textbook])
@given(st.integers(0, 7), st.integers(0, 6), st.integers(0, 1000))
def test_the_value_equals_the_quotient(quotient, p_degree, q_degree, seed):
    random = np.random.default_rng(seed)
    p, q, x = random.standard_normal(p_degree + 1), random.standard_normal(q_degree), random.standard_normal(50) * 2
    expected = sum(c * x**i for i, c in enumerate(p)) / (1 + sum(abs(c * x ** (j + 1)) for j, c in enumerate(q)))
    found = quotient(*map(torch.from_numpy, (x, p, q)))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("quotient", [rational, textbook])
@pytest.mark.parametrize("degrees", [(6, 5), (4, 5), (3, 0), (0, 2), (5, 5)])
def test_the_value_equals_the_quotient_far_from_zero(quotient, degrees, dtype):
    """Value and gradients equal exact arithmetic even if powers of x overflow."""
    random = np.random.default_rng(sum(degrees))
    p, q = (torch.from_numpy(random.standard_normal(count) + 2).to(dtype) for count in (degrees[0] + 1, degrees[1]))
    reach = torch.tensor([2.0, 300.0, 5e3, 1e10, 1e15], dtype=dtype)
    reach = reach[reach < (1e6 if degrees[0] > degrees[1] + 1 else torch.inf)]  # without what overflows itself
    x = torch.cat([reach, -reach]).requires_grad_()
    p.requires_grad_(), q.requires_grad_()
    found = quotient(x, p, q)
    weights = torch.linspace(0.5, 1.5, len(x), dtype=dtype)
    gradients = torch.autograd.grad((found * weights).sum(), (x, p, q))
    value, of_x, of_p, of_q = exactly(x, p, q, weights)
    tolerance = 200 * torch.finfo(dtype).eps
    np.testing.assert_allclose(found.detach().double().numpy(), value, rtol=tolerance)
    for ours, exact in zip(gradients, (of_x, of_p, of_q), strict=True):
        np.testing.assert_allclose(ours.double().numpy(), exact, rtol=tolerance, atol=tolerance)


def exactly(x, p, q, weights):
    """Return the quotient and the gradients of its weighted sum, computed with fractions."""
    x, p, q, weights = ([Fraction(v) for v in part.detach().double().tolist()] for part in (x, p, q, weights))
    value, of_x, of_p, of_q = [], [], [Fraction(0)] * len(p), [Fraction(0)] * len(q)
    for a, g in zip(x, weights, strict=True):
        size, sign = abs(a), 1 if a > 0 else -1
        top, bottom = sum(c * a**i for i, c in enumerate(p)), 1 + sum(abs(c) * size ** (j + 1) for j, c in enumerate(q))
        rise = sum(i * c * a ** (i - 1) for i, c in enumerate(p) if i)
        grow = sign * sum((j + 1) * abs(c) * size**j for j, c in enumerate(q))
        value.append(float(top / bottom))
        of_x.append(float(g * (rise / bottom - top * grow / bottom**2)))
        of_p = [old + g * a**i / bottom for i, old in enumerate(of_p)]
        steps = [g * top * size ** (j + 1) / bottom**2 * (1 if c > 0 else -1) for j, c in enumerate(q)]
        of_q = [old - step for old, step in zip(of_q, steps, strict=True)]
    return value, of_x, [float(v) for v in of_p], [float(v) for v in of_q]


@pytest.mark.parametrize(("name", "error"), NEAR.items())
def test_the_initial_coefficients_approximate_the_function(name, error):
    assert (rational(X, *fitted_rational(name, 6, 5)) - KNOWN[name](X)).abs().max() < error


@pytest.mark.parametrize("degrees", [(4, 3), (5, 4), (3, 2)])
def test_the_fit_has_the_smallest_error(degrees):
    """scipy's least squares, started from our coefficients, does not reduce the error by more than a tenth."""
    p, q = fitted_rational("tanh", *degrees)
    count, x = degrees[0] + 1, X.numpy()

    def residuals(values):
        return rational(X, *map(torch.from_numpy, (values[:count], values[count:]))).numpy() - np.tanh(x)

    ours = residuals(np.concatenate([p, q]))
    best = scipy.optimize.least_squares(residuals, np.concatenate([p, q]), max_nfev=200)
    assert np.square(ours).sum() < 1.5 * 2 * best.cost + 1e-12


def test_gradients_and_an_activation_of_a_network():
    made = activation("rational", 7, (5, 4), "silu").double()
    assert isinstance(made, Rational)
    x = torch.randn(20, dtype=torch.float64, requires_grad=True)

    def call(x, p, q):
        return rational(x, p, q)

    assert torch.autograd.gradcheck(call, (x, made.numerator, made.denominator))
    made(x).sum().backward()
    assert made.denominator.grad.abs().min() > 0


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("count", [0, 1, 255, 256, 300_000])
@pytest.mark.parametrize(("p_degree", "q_degree"), [(6, 5), (0, 0), (2, 4)])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_kernel_has_the_values_and_gradients_of_torch(dtype, tolerance, count, p_degree, q_degree, threads):
    random = torch.Generator().manual_seed(0)
    sizes = [(count,), (p_degree + 1,), (q_degree,), (count,)]
    *inputs, weights = (torch.randn(size, generator=random, dtype=dtype) for size in sizes)
    before, found = torch.get_num_threads(), []
    torch.set_num_threads(threads)
    for quotient, precision in ((rational, dtype), (textbook, torch.float64)):
        leaves = [tensor.to(precision).requires_grad_() for tensor in inputs]
        y = quotient(*leaves)
        found.append([y, *torch.autograd.grad(y, leaves, weights.to(precision), allow_unused=True)])
    torch.set_num_threads(before)
    for ours, expected in zip(*found, strict=True):
        if expected is None:  # there is no denominator, or it is constant
            assert not ours.any()
            continue
        assert ours.dtype == dtype
        peak = float(expected.detach().abs().max()) if expected.numel() else 1.0
        torch.testing.assert_close(ours.double(), expected, rtol=0, atol=tolerance * max(peak, 1.0))


@pytest.mark.parametrize("needed", [(True, False, False), (False, True, False), (False, False, True), (True,) * 3])
def test_gradients_of_both_orders_for_every_subset_of_inputs(needed):
    p, q = fitted_rational("silu", 5, 4)
    inputs = (torch.linspace(-2, 2, 12, dtype=torch.float64).reshape(2, 3, 2).transpose(0, 2), p, q)
    inputs = tuple(tensor.clone().requires_grad_(need) for tensor, need in zip(inputs, needed, strict=True))
    assert torch.autograd.gradcheck(rational, inputs)
    assert torch.autograd.gradgradcheck(rational, inputs)


def test_invalid_degrees_and_functions_are_rejected():
    with pytest.raises(ModelError, match=r"degrees .*\(2, -1\)"):
        fitted_rational("tanh", 2, -1)
    with pytest.raises(ModelError, match="fitted to 'sine'. Functions: tanh, relu"):
        fitted_rational("sine", 2, 1)
