"""The one-pole and the state-variable filter: equations, adjoints, and all kinds of coefficients."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter

from nablafx_core.errors import ModelError
from nablafx_core.steps import Steps
from nablafx_dsp.functional.one_pole import one_pole
from nablafx_dsp.functional.state_variable import state_variable_filter
from nablafx_dsp.processors.state_variable import MODES, StateVariable
from reference.one_pole import one_pole as slow_one_pole
from reference.state_variable import responses
from reference.state_variable import state_variable as slow_state_variable

TIME, BLOCK, SKIP = 61, 7, 3  # ten blocks, the first of which begins before the signal
#: Frames, and the length of a block: constant, per sample, per block.
KINDS = {"constant": (1, 1, 0), "per sample": (TIME, 1, 0), "per block": (10, BLOCK, SKIP)}
every_kind = pytest.mark.parametrize(("frames", "block_size", "skip"), KINDS.values(), ids=KINDS)
every_engine = pytest.mark.parametrize("engine", ["auto", "torch"])
every_dtype = pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-11)])


def noise(*shape, seed=1):
    return torch.tensor(np.random.default_rng(seed).standard_normal(shape))


def between(low, high, *shape, seed=2):
    return torch.tensor(np.random.default_rng(seed).uniform(low, high, shape))


def over(values, block_size, skip):
    return (
        values.expand(*values.shape[:-1], TIME) if values.shape[-1] == 1 else Steps(values, skip, block_size).over(TIME)
    )


class OnePole:
    """Return the filter, its inputs, and the reference."""

    state = (2,)

    def inputs(self, frames):
        return (between(-0.5, 0.98, 2, frames),)

    def fast(self, audio, *inputs, state=None, **grid):
        return one_pole(audio, *inputs, state, **grid)

    def slow(self, audio, pole, state):
        return slow_one_pole(audio, pole, state)


class StateVariableFilter:
    """Return the filter, its inputs, and the reference."""

    state = (2, 2)

    def inputs(self, frames):
        return between(0.02, 2, 2, frames), between(0.1, 2, 2, frames, seed=3), noise(2, 3, frames, seed=4)

    def fast(self, audio, *inputs, state=None, **grid):
        return state_variable_filter(audio, *inputs, state, **grid)

    def slow(self, audio, g, k, mix, state):
        return slow_state_variable(audio, g, k, mix, state)


every_filter = pytest.mark.parametrize(
    "subject", [OnePole(), StateVariableFilter()], ids=["one pole", "state variable"]
)


@every_filter
@every_kind
@every_engine
@every_dtype
def test_it_is_its_equations(monkeypatch, subject, frames, block_size, skip, engine, dtype, tolerance):
    monkeypatch.setenv("NABLAFX_KERNELS", engine)
    audio, inputs, state = noise(2, TIME).to(dtype), subject.inputs(frames), noise(*subject.state, seed=5)
    output, final = subject.fast(audio, *inputs, state=state, block_size=block_size, skip=skip)
    assert output.dtype == dtype
    assert final.dtype == torch.float64
    for item in range(2):
        each = [over(values, block_size, skip)[item].numpy() for values in inputs]
        expected, after = subject.slow(audio[item].double().numpy(), *each, state[item].numpy())
        np.testing.assert_allclose(output[item], expected, atol=tolerance)
        np.testing.assert_allclose(final[item], after, atol=tolerance)


@every_filter
@pytest.mark.parametrize("threads", [1, 2])
@every_dtype
@given(cuts=st.lists(st.integers(0, 40), min_size=1, max_size=6), kind=st.sampled_from(list(KINDS)))
def test_a_stream_has_the_same_bits_as_the_whole(subject, threads, dtype, tolerance, cuts, kind):
    time, before = sum(cuts), torch.get_num_threads()
    block_size = BLOCK if kind == "per block" else 1
    inputs = subject.inputs(1 if kind == "constant" else max(-(-time // block_size), 1))
    audio, parts, state, start = noise(2, time).to(dtype), [], None, 0
    torch.set_num_threads(threads)
    whole, last = subject.fast(audio, *inputs, block_size=block_size, skip=-time % block_size)
    for block in audio.split(cuts, dim=-1):
        stop = start + block.shape[-1]
        first, end = start // block_size, -(-stop // block_size)
        own = inputs if kind == "constant" else tuple(values[..., first : max(end, first + 1)] for values in inputs)
        skip = 0 if kind == "constant" else own[0].shape[-1] * block_size + first * block_size - stop
        output, state = subject.fast(block, *own, state=state, block_size=block_size, skip=skip)
        parts.append(output)
        start = stop
    torch.set_num_threads(before)
    assert torch.equal(torch.cat(parts, dim=-1), whole)
    assert torch.equal(state, last)


@every_filter
@every_kind
@every_engine
def test_gradients_for_every_subset_of_inputs(monkeypatch, subject, frames, block_size, skip, engine):
    monkeypatch.setenv("NABLAFX_KERNELS", engine)
    tensors = noise(2, TIME), noise(*subject.state, seed=5), *subject.inputs(frames)

    def call(audio, state, *inputs):
        return subject.fast(audio, *inputs, state=state, block_size=block_size, skip=skip)

    for needed in itertools.product([False, True], repeat=len(tensors)):
        if any(needed):
            leaves = [t.clone().requires_grad_(need) for t, need in zip(tensors, needed, strict=True)]
            assert torch.autograd.gradcheck(call, leaves, fast_mode=True)


@every_filter
@every_kind
def test_gradients_in_float32_are_those_in_float64(subject, frames, block_size, skip):
    found = []
    for dtype in (torch.float32, torch.float64):
        leaves = [t.to(dtype).requires_grad_() for t in (noise(2, TIME), *subject.inputs(frames))]
        output, final = subject.fast(leaves[0], *leaves[1:], block_size=block_size, skip=skip)
        found.append(torch.autograd.grad(output.square().sum() + final.sum(), leaves))
    for single, double in zip(*found, strict=True):
        torch.testing.assert_close(single.double(), double, rtol=0, atol=1e-5 * float(double.abs().max()))


@every_filter
def test_gradients_cross_chunks_through_the_state(subject):
    audio, inputs = noise(2, 50), [values.requires_grad_() for values in subject.inputs(1)]
    whole = torch.autograd.grad(subject.fast(audio, *inputs)[0].square().sum(), inputs)
    first, state = subject.fast(audio[:, :20], *inputs)
    second, _ = subject.fast(audio[:, 20:], *inputs, state=state)
    chunked = torch.autograd.grad(first.square().sum() + second.square().sum(), inputs)
    torch.testing.assert_close(chunked, whole)


@every_filter
def test_non_contiguous_and_empty_audio(subject):
    audio, inputs, state = noise(2, 60), subject.inputs(1), noise(*subject.state)
    turned = audio.T.contiguous().T
    torch.testing.assert_close(subject.fast(turned, *inputs), subject.fast(audio, *inputs), rtol=0, atol=0)
    output, after = subject.fast(audio[:, :0], *inputs, state=state)
    assert output.shape == (2, 0)
    torch.testing.assert_close(after, state)


def test_a_constant_pole_gives_the_filter_of_scipy():
    audio = noise(1, 5000)
    expected = lfilter([0.01], [1, -0.99], audio[0])
    np.testing.assert_allclose(one_pole(audio, torch.tensor([[0.99]], dtype=torch.float64))[0][0], expected, atol=1e-9)


@pytest.mark.parametrize("mode", MODES)
@given(cutoff=st.floats(20, 20000), q=st.floats(0.1, 10), frequency=st.floats(20, 23000))
def test_modes_have_the_responses_of_the_analogue_filter(mode, cutoff, q, frequency):
    parameters = {"cutoff_hz": between(cutoff, cutoff, 1), "q": between(q, q, 1)}
    impulse = torch.zeros(1, 1, 4, dtype=torch.float64)
    impulse[..., 0] = 1
    h = StateVariable(mode=mode)(impulse, parameters)[0][0, 0].numpy()
    # The denominator is known; the numerator follows from it and the first three samples of the impulse response.
    g = math.tan(math.pi * cutoff / 48000)
    a = np.array([1 + g / q + g * g, 2 * (g * g - 1), 1 - g / q + g * g]) / (1 + g / q + g * g)
    b = np.convolve(h, a)[:3]
    assert abs(np.convolve(h, a)[3]) < 1e-12
    z = np.exp(-2j * math.pi * frequency / 48000) ** np.arange(3)
    expected = np.array(MODES[mode]) * (1, 1 / q, 1) @ responses(frequency, cutoff, q, 48000)
    assert abs(b @ z / (a @ z) - expected) < 1e-7 * max(1, abs(expected))


def test_a_low_sharp_filter_is_exact_for_float32_audio():
    audio = noise(1, 480_000).float() * 0.3
    parameters = {"cutoff_hz": torch.tensor([20.0]), "q": torch.tensor([10.0])}
    output, _ = StateVariable()(audio[:, None], parameters)
    g, k = math.tan(math.pi * 20 / 48000), 0.1
    a = np.array([1 + g * k + g * g, 2 * (g * g - 1), 1 - g * k + g * g])
    expected = lfilter(g * g * np.array([1, 2, 1]) / a[0], a / a[0], audio[0].double().numpy())
    assert np.abs(output[0, 0].numpy() - expected).max() < 1e-6


def test_steps_are_their_values_held():
    audio, processor = noise(2, 1, TIME), StateVariable(mode="mix")
    values = {p.name: p.from_unit(between(0, 1, 2, 10, seed=n)) for n, p in enumerate(processor.effect_parameters)}
    steps = {name: Steps(value, SKIP, BLOCK) for name, value in values.items()}
    expected = processor(audio, {name: step.over(TIME) for name, step in steps.items()})
    torch.testing.assert_close(processor(audio, steps), expected, rtol=0, atol=1e-12)
    mixed = steps | {"q": torch.tensor([0.7, 2.0]), "low": steps["low"].over(TIME)}
    held = {name: value.over(TIME) if isinstance(value, Steps) else value for name, value in mixed.items()}
    torch.testing.assert_close(processor(audio, mixed), processor(audio, held), rtol=0, atol=1e-12)


def test_it_stays_bounded_however_its_cutoff_jumps():
    audio, cutoff = noise(1, 1, 20_000).clamp(-1, 1), between(0, 1, 1, 20_000)
    parameters = {"cutoff_hz": 20 * 1000**cutoff, "q": torch.tensor([10.0])}
    assert StateVariable()(audio, parameters)[0].abs().max() < 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"mode": "comb"}, "mode 'comb'.* lowpass, bandpass"), ({"min_q": 0.0}, "must be above 0")],
)
def test_settings_that_make_no_filter_are_refused(arguments, message):
    with pytest.raises(ModelError, match=message):
        StateVariable(**arguments)


def test_a_cutoff_beyond_the_range_of_the_sample_rate_is_clamped_with_a_warning():
    with pytest.warns(UserWarning, match="above 7840 Hz are clamped"):
        processor = StateVariable(sample_rate=16000, max_cutoff_hz=12000)
    audio, q = noise(1, 1, 100), torch.tensor([1.0])
    high, highest = (processor(audio, {"cutoff_hz": torch.tensor([hz]), "q": q})[0] for hz in (12000.0, 7840.0))
    torch.testing.assert_close(high, highest, rtol=0, atol=0)


def test_frames_that_do_not_cover_the_signal_are_refused():
    with pytest.raises(ModelError, match="2 frames of 8 samples, 3 .* 14 samples"):
        one_pole(noise(1, 14), between(0, 1, 1, 2), block_size=8, skip=3)
    with pytest.raises(ModelError, match=r"one_pole: .*\(2, frames\) for 2 signals"):
        one_pole(noise(2, 14), between(0, 1, 1, 1))
    with pytest.raises(ModelError, match=r"state_variable_filter: .*\(2, frames\) and mix of \(2, 3, frames\)"):
        state_variable_filter(noise(2, 14), *(torch.ones(2, 3), torch.ones(2, 2), torch.ones(2, 3, 1)))
