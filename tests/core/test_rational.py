"""Rational functions: as defined, without poles, and near the functions that they begin as."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given
from hypothesis import strategies as st

from nablafx_core.errors import ModelError
from nablafx_core.nn.activation import activation
from nablafx_core.nn.rational import Rational, fitted_rational, rational

X = torch.linspace(-3, 3, 2001, dtype=torch.float64)
NEAR = {"tanh": 1e-6, "gelu": 1e-3, "relu": 0.03, "leaky_relu": 0.03, "elu": 1e-3, "silu": 1e-6, "sigmoid": 1e-6}
KNOWN = {"tanh": torch.tanh, "gelu": torch.nn.functional.gelu, "relu": torch.relu, "silu": torch.nn.functional.silu}
KNOWN |= {"leaky_relu": torch.nn.functional.leaky_relu, "elu": torch.nn.functional.elu, "sigmoid": torch.sigmoid}


@given(st.integers(0, 7), st.integers(0, 6), st.integers(0, 1000))
def test_it_is_the_quotient(p_degree, q_degree, seed):
    random = np.random.default_rng(seed)
    p, q, x = random.standard_normal(p_degree + 1), random.standard_normal(q_degree), random.standard_normal(50) * 2
    expected = sum(c * x**i for i, c in enumerate(p)) / (1 + sum(abs(c * x ** (j + 1)) for j, c in enumerate(q)))
    found = rational(*map(torch.from_numpy, (x, p, q)))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("name", "error"), NEAR.items())
def test_it_begins_near_the_function(name, error):
    assert (rational(X, *fitted_rational(name, 6, 5)) - KNOWN[name](X)).abs().max() < error


@pytest.mark.parametrize("degrees", [(4, 3), (5, 4), (3, 2)])
def test_no_other_coefficients_are_nearer(degrees):
    """scipy's least squares, from our coefficients on, finds nothing that is better by more than a tenth."""
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


def test_what_does_not_exist():
    with pytest.raises(ModelError, match=r"degrees \(2, -1\) does not exist"):
        fitted_rational("tanh", 2, -1)
    with pytest.raises(ModelError, match="fitted to 'sine'. Functions: tanh, relu"):
        fitted_rational("sine", 2, 1)
