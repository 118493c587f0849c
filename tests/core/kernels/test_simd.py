"""Vectors in compiled code equal numpy at every width, and write only to their place in an array."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

from nablafx_core.kernels import simd

WIDTHS = (4, 8, 16, 64)


def elementwise(function, arity, lanes):
    """Return a compiled function that applies an operation to arrays, in vectors of `lanes`."""
    call = {1: lambda x, y, z: function(x), 2: lambda x, y, z: function(x, y), 3: lambda x, y, z: function(x, y, z)}
    apply = njit(inline="always")(call[arity])

    @njit
    def run(x, y, z, out):
        values = apply(simd.load(x, 1, lanes), simd.load(y, 2, lanes), simd.load(z, 3, lanes))
        simd.store(out, 4, values)

    return run


def noise(size, seed=0):
    return np.random.default_rng(seed).standard_normal(size).astype(np.float32)


@pytest.mark.parametrize("lanes", WIDTHS)
@pytest.mark.parametrize(
    ("function", "arity", "expected"),
    [
        (simd.add, 2, lambda x, y, z: x + y),
        (simd.sub, 2, lambda x, y, z: x - y),
        (simd.mul, 2, lambda x, y, z: x * y),
        (simd.div, 2, lambda x, y, z: x / y),
        (simd.minimum, 2, lambda x, y, z: np.minimum(x, y)),
        (simd.maximum, 2, lambda x, y, z: np.maximum(x, y)),
        (simd.fma, 3, lambda x, y, z: (x.astype(np.float64) * y + z).astype(np.float32)),
    ],
    ids=["add", "sub", "mul", "div", "minimum", "maximum", "fma"],
)
def test_elementwise(function, arity, expected, lanes):
    x, y, z = (noise(lanes + 3, seed) for seed in range(3))
    out = np.full(lanes + 8, 7, np.float32)
    elementwise(function, arity, lanes)(x, y, z, out)
    wanted = expected(x[1 : 1 + lanes], y[2 : 2 + lanes], z[3 : 3 + lanes])
    np.testing.assert_array_equal(out[4 : 4 + lanes], wanted)
    assert (out[:4] == 7).all()
    assert (out[4 + lanes :] == 7).all()


@pytest.mark.parametrize("lanes", WIDTHS)
def test_numbers_become_vectors_and_vectors_numbers(lanes):
    @njit
    def run(x, scalar):
        return simd.sum_of(
            simd.mul(simd.load(x, 0, lanes), simd.add(simd.full(scalar, lanes), simd.broadcast(x, 1, lanes)))
        )

    x = noise(lanes)
    wanted = np.sum(x.astype(np.float64) * (2.5 + np.float64(x[1])))
    assert abs(run(x, 2.5) - wanted) < 1e-6 * np.abs(x).sum() * 5


@pytest.mark.parametrize(("lanes", "number"), [(16, 0), (16, 3), (8, 5), (64, 0)])
def test_part(lanes, number):
    @njit
    def run(x, out):
        simd.store(out, 0, simd.part(simd.load(x, 0, 64), number, lanes))

    x, out = noise(64), np.full(70, 7, np.float32)
    run(x, out)
    np.testing.assert_array_equal(out[:lanes], x[number * lanes : (number + 1) * lanes])
    assert (out[lanes:] == 7).all()


@pytest.mark.parametrize(
    ("function", "slow", "tolerance"),
    [(simd.tanh, np.tanh, 3e-7), (simd.sigmoid, lambda x: 1 / (1 + np.exp(-x)), 2e-7)],
    ids=["tanh", "sigmoid"],
)
def test_activations(function, slow, tolerance):
    @njit
    def run(x, out):
        for start in range(0, x.shape[0], 16):
            simd.store(out, start, function(simd.load(x, start, 16)))

    x = np.concatenate([np.linspace(-30, 30, 160_000 - 16), np.logspace(-30, 38, 8), -np.logspace(-30, 38, 8)])
    out = np.empty(len(x), np.float32)
    run(x.astype(np.float32), out)
    with np.errstate(over="ignore"):
        assert np.abs(out - slow(x.astype(np.float32).astype(np.float64))).max() < tolerance
    strange = np.array([np.nan, np.inf, -np.inf] * 16, np.float32)
    out = np.empty(48, np.float32)
    run(strange, out)
    np.testing.assert_allclose(out, slow(strange.astype(np.float64)), atol=tolerance)  # nan stays nan


@pytest.mark.parametrize(
    ("function", "scale", "low"), [(simd.tanh, 1, -1), (simd.sigmoid, 2, 0)], ids=["tanh", "sigmoid"]
)
def test_activations_stay_within_their_bounds_and_reach_them(function, scale, low):
    @njit
    def run(x, out):
        for start in range(0, x.shape[0], 16):
            simd.store(out, start, function(simd.load(x, start, 16)))

    steps = np.arange(np.float32(7.75).view(np.int32), np.float32(8.5).view(np.int32), dtype=np.int32)
    x = steps.view(np.float32) * np.float32(scale)  # each float32 about the limit
    for sign, bound in ((1, 1), (-1, low)):
        out = np.empty(len(x), np.float32)
        run(sign * x, out)
        assert out.min() >= low
        assert out.max() <= 1
        assert (out[x >= 8 * scale] == bound).all()


def test_tanh_is_accurate_for_small_arguments():
    run = elementwise(simd.tanh, 1, 16)
    x, out = np.logspace(-8, 0, 19).astype(np.float32), np.zeros(24, np.float32)
    run(x, x, x, out)
    np.testing.assert_allclose(out[4:20], np.tanh(x[1:17].astype(np.float64)), rtol=1e-6)


def test_arguments_that_are_not_vectors_are_rejected():
    @njit
    def loads(x, lanes):
        return simd.sum_of(simd.load(x, 0, lanes))

    @njit
    def mixed(x):
        return simd.sum_of(simd.add(simd.load(x, 0, 8), simd.load(x, 0, 16)))

    @njit
    def beyond(x):
        return simd.sum_of(simd.part(simd.load(x, 0, 8), 2, 4))

    with pytest.raises(TypingError, match=r"Vector\(8 x float32\) has no part 2 of 4 lanes"):
        beyond(noise(16))
    with pytest.raises(TypingError, match="constant, got int64"):
        loads(noise(16), 8)
    with pytest.raises(TypingError, match=r"contiguous 1-D array of float32, got array\(float64, 1d, C\)"):
        elementwise(simd.add, 2, 8)(*np.zeros((4, 32)))
    with pytest.raises(TypingError, match=r"same width, got Vector\(8 x float32\), Vector\(16"):
        mixed(noise(16))
