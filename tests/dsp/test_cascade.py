"""The cascade of second-order sections: recursion, adjoint, state, the torch path and frequency sampling."""

from __future__ import annotations

import itertools
import math
import platform

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import sosfilt

from nablafx_core.errors import ModelError
from nablafx_core.steps import Steps
from nablafx_dsp.functional.biquad import cascade, frequency_sampled
from nablafx_dsp.kernels.biquad import SEGMENT
from reference.biquad import cascade as slow

pytestmark = pytest.mark.slow

#: Frames of a signal of `TIME` samples: constant, one per sample, one per block (the first begins before the signal,
#: the last ends after it; then neither).
TIME = 40
GRIDS = {
    "constant": {"frames": 1},
    "per sample": {"frames": TIME},
    "per block": {"frames": 6, "block_size": 8, "skip": 3},
    "per whole block": {"frames": 5, "block_size": 8, "skip": 0},
}
every_grid = pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
every_count = pytest.mark.parametrize("sections", [1, 2, 5, 9])
every_path = pytest.mark.parametrize("kernels", ["auto", "torch"])


def stable(sections, frames, batch=2, seed=0):
    """Return random coefficients (batch, sections, 5, frames) with poles within radius 0.9."""
    random = np.random.default_rng(seed)
    shape = (batch, sections, 1, frames)
    radius, angle = random.uniform(0.3, 0.9, shape), random.uniform(0.1, 3, shape)
    zeros = 0.5 * random.standard_normal((batch, sections, 3, frames))
    return torch.tensor(np.concatenate([zeros, -2 * radius * np.cos(angle), radius**2], axis=2))


def noise(*shape, seed=1):
    return torch.tensor(np.random.default_rng(seed).standard_normal(shape))


def options(grid):
    return {key: value for key, value in grid.items() if key != "frames"}


def per_sample(coefficients, grid, time=TIME):
    if grid["frames"] == 1:
        return coefficients.expand(-1, -1, -1, time)
    steps = Steps(coefficients.flatten(1, 2), grid.get("skip", 0), grid.get("block_size", 1))
    return steps.over(time).reshape(*coefficients.shape[:3], time)


@every_path
@every_grid
@every_count
def test_the_recursion_is_the_difference_equation(monkeypatch, sections, grid, kernels):
    monkeypatch.setenv("NABLAFX_KERNELS", kernels)
    audio, coefficients, state = noise(2, TIME), stable(sections, grid["frames"]), noise(2, sections, 2)
    output, final = cascade(audio, coefficients, state, **options(grid))
    for item, held in enumerate(per_sample(coefficients, grid).numpy()):
        expected, after = slow(audio[item].numpy(), held, state[item].numpy())
        np.testing.assert_allclose(output[item], expected, atol=1e-11)
        np.testing.assert_allclose(final[item], after, atol=1e-11)


@every_count
def test_constant_coefficients_give_the_filter_of_scipy(sections):
    audio, coefficients = noise(2, 5000), stable(sections, 1)
    output, final = cascade(audio, coefficients)
    for item, (b0, b1, b2, a1, a2) in enumerate(coefficients[..., 0].movedim(-1, 1)):
        sos = np.stack([b0, b1, b2, np.ones(sections), a1, a2], axis=1)
        expected, after = sosfilt(sos, audio[item], zi=np.zeros((sections, 2)))
        np.testing.assert_allclose(output[item], expected, atol=1e-10)
        np.testing.assert_allclose(final[item], after, atol=1e-10)


@every_grid
@pytest.mark.parametrize(("sections", "kernels"), [(1, "auto"), (2, "auto"), (5, "auto"), (9, "auto"), (2, "torch")])
def test_gradients_are_right(monkeypatch, sections, kernels, grid):
    monkeypatch.setenv("NABLAFX_KERNELS", kernels)
    inputs = noise(2, TIME), stable(sections, grid["frames"]), noise(2, sections, 2)
    assert torch.autograd.gradcheck(
        lambda *tensors: cascade(*tensors, **options(grid)),
        [tensor.requires_grad_() for tensor in inputs],
        fast_mode=sections > 2 or kernels == "torch",
    )


@every_path
@every_grid
@pytest.mark.parametrize("needed", [n for n in itertools.product([False, True], repeat=3) if any(n)])
def test_gradients_for_every_subset_of_inputs(monkeypatch, needed, grid, kernels):
    monkeypatch.setenv("NABLAFX_KERNELS", kernels)
    inputs = noise(2, TIME), stable(2, grid["frames"]), noise(2, 2, 2)
    weights = noise(2, TIME, seed=2), noise(2, 2, 2, seed=3)

    def gradients(flags):
        leaves = [tensor.clone().requires_grad_(flag) for tensor, flag in zip(inputs, flags, strict=True)]
        return torch.autograd.grad(cascade(*leaves, **options(grid)), list(itertools.compress(leaves, flags)), weights)

    whole = gradients([True] * 3)  # which gradcheck compares with finite differences above
    for alone, together in zip(gradients(needed), itertools.compress(whole, needed), strict=True):
        torch.testing.assert_close(alone, together, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("frames", [1, 3, 2 * SEGMENT + 30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_scan_is_the_recursion_within_its_tolerance(monkeypatch, frames, dtype):
    time = 2 * SEGMENT + 30  # several segments of the backward pass
    grid = {"block_size": SEGMENT, "skip": SEGMENT - 30} if frames == 3 else {}
    audio, coefficients, state = noise(2, time).to(dtype), stable(5, frames), noise(2, 5, 2)
    weights = noise(2, time, seed=2).to(dtype), noise(2, 5, 2, seed=3)
    results = []
    for kernels in ("auto", "torch"):
        monkeypatch.setenv("NABLAFX_KERNELS", kernels)
        inputs = [tensor.clone().requires_grad_() for tensor in (audio, coefficients, state)]
        outputs = cascade(*inputs, **grid)
        results.append([*outputs, *torch.autograd.grad(outputs, inputs, weights)])
    for compiled, scanned in zip(*results, strict=True):
        assert compiled.shape == scanned.shape
        assert compiled.dtype == scanned.dtype
        tolerance = (1e-9 if dtype == torch.float64 else 1e-5) * float(compiled.detach().abs().max())
        torch.testing.assert_close(scanned, compiled, rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@every_count
@settings(max_examples=20)
@given(
    cuts=st.lists(st.integers(0, 700), max_size=5),
    grid=st.sampled_from([(1, 0), (8, 0), (8, 3), (128, 90), (None, 0)]),
)
def test_a_signal_cut_anywhere_gives_the_same_bits(sections, dtype, cuts, grid):
    time, (block_size, skip) = 700, grid
    frames = 1 if block_size is None else -(-(time + skip) // block_size)
    audio, coefficients = noise(2, time).to(dtype), stable(sections, frames)
    whole = cascade(audio, coefficients, block_size=block_size or 1, skip=skip)
    outputs, state = [], None
    for start, stop in itertools.pairwise(sorted({0, time, *cuts})):
        held, to_come = coefficients, 0
        if block_size is not None:
            lead = frames * block_size - skip - time
            first, last = (start + lead) // block_size, (stop - 1 + lead) // block_size
            held, to_come = coefficients[..., first : last + 1], (last + 1) * block_size - lead - stop
        output, state = cascade(audio[:, start:stop], held, state, block_size=block_size or 1, skip=to_come)
        outputs.append(output)
    assert torch.equal(torch.cat(outputs, dim=1), whole[0])
    assert torch.equal(state, whole[1])


def test_gradients_cross_chunks_through_the_state():
    audio, coefficients = noise(2, 50), stable(5, 1).requires_grad_()
    whole = torch.autograd.grad(cascade(audio, coefficients)[0].square().sum(), coefficients)
    first, state = cascade(audio[:, :20], coefficients)
    second, _ = cascade(audio[:, 20:], coefficients, state)
    chunked = torch.autograd.grad(first.square().sum() + second.square().sum(), coefficients)
    torch.testing.assert_close(chunked, whole)


def test_inputs_with_any_memory_layout():
    audio, coefficients = noise(2, 60), stable(5, 60)
    expected = cascade(audio, coefficients)[0]
    framed = coefficients.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    assert torch.equal(cascade(audio.T.contiguous().T, coefficients)[0], expected)
    assert torch.equal(cascade(audio, framed)[0], expected)
    one = audio[:1, :8].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda one: cascade(one.expand(2, -1), stable(2, 1))[0].sum(0), (one,))


@every_path
@pytest.mark.parametrize(("frames", "grid"), [(1, {}), (0, {}), (1, {"block_size": 8, "skip": 3})])
def test_empty_audio(monkeypatch, frames, grid, kernels):
    monkeypatch.setenv("NABLAFX_KERNELS", kernels)
    state = noise(2, 5, 2).requires_grad_()
    output, final = cascade(noise(2, 0), stable(5, frames), state, **grid)
    assert output.shape == (2, 0)
    torch.testing.assert_close(final, state)
    torch.testing.assert_close(torch.autograd.grad(final.sum(), state)[0], torch.ones_like(state))


def test_coefficients_are_read_in_their_own_precision():
    audio, coefficients = noise(2, 300).float(), stable(5, 300)
    rounded = coefficients.float().requires_grad_()
    output, _ = cascade(audio, rounded)
    torch.testing.assert_close(output, cascade(audio, rounded.double())[0], rtol=0, atol=0)
    gradient = torch.autograd.grad(output.square().sum(), rounded)[0]
    wide = coefficients.float().double().requires_grad_()
    expected = torch.autograd.grad(cascade(audio, wide)[0].square().sum(), wide)[0]
    torch.testing.assert_close(gradient, expected.float())


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="elsewhere they cost nothing")
def test_a_tail_in_silence_has_no_subnormal_numbers():
    audio = torch.zeros(1, 50_000, dtype=torch.float64)
    audio[0, 0] = 1
    coefficients = torch.tensor([1, 0, 0, -1.8, 0.81], dtype=torch.float64)[None, None, :, None].expand(1, 3, 5, 1)
    least = np.finfo(np.float64).tiny
    for signal in cascade(audio, coefficients):
        assert float(signal.ravel()[-1].abs()) < 1e-290
        assert not ((signal != 0) & (signal.abs() < least)).any()
    assert np.float64(least) / 2 > 0  # subnormal numbers work again afterwards


def test_frequency_sampling_is_exact_for_a_short_response():
    audio, coefficients = noise(2, 3000).float(), stable(5, 1)
    torch.testing.assert_close(
        frequency_sampled(audio, coefficients), cascade(audio, coefficients)[0], rtol=0, atol=1e-4
    )


def test_frequency_sampling_folds_a_long_response():
    w0 = 2 * math.pi * 20 / 48000
    alpha, c = math.sin(w0) / 20, math.cos(w0)
    numbers = torch.tensor([(1 - c) / 2, 1 - c, (1 - c) / 2, -2 * c, 1 - alpha], dtype=torch.float64)
    numbers[3:] /= 1 + alpha
    numbers[:3] /= 1 + alpha
    audio, coefficients = noise(1, 4096), numbers[None, None, :, None]
    exact = cascade(audio, coefficients)[0]
    assert float((frequency_sampled(audio, coefficients) - exact).abs().max()) > 0.1 * float(exact.abs().max())


def test_shapes_that_do_not_match_are_refused():
    with pytest.raises(ModelError, match=r"\(2, sections, 5, 1\) or \(2, sections, 5, 60\)"):
        cascade(noise(2, 60), stable(5, 59))
    with pytest.raises(ModelError, match=r"\(2, sections, 5, 9\) .* blocks of 8 .* 5 of them"):
        cascade(noise(2, 60), stable(5, 60), block_size=8, skip=5)
    with pytest.raises(ModelError, match=r"cascade: .* state .*\(2, 5, 2\) .*\(2, 2\)"):
        cascade(noise(2, 60), stable(5, 1), noise(2, 2))
    with pytest.raises(ModelError, match="frequency_sampled: .* cascade"):
        frequency_sampled(noise(2, 60), stable(5, 60))
