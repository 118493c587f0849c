"""Gain and offset in steps: held or interpolated linearly, with gradients, as a stream."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nablafx_core.errors import ModelError
from nablafx_core.steps import Steps
from nablafx_core.testing import laws
from nablafx_dsp.functional.ramp import ramp
from nablafx_dsp.processors.memoryless import DCOffset, Gain
from reference.ramp import line

TIME, BLOCK, SKIP, BLOCKS = 61, 7, 3, 10  # the first block begins before the signal
every_engine = pytest.mark.parametrize("engine", ["auto", "torch"])
every_dtype = pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
every_processor = pytest.mark.parametrize(("make", "name"), [(Gain, "gain_db"), (DCOffset, "offset")])


def noise(*shape, seed=1):
    return torch.tensor(np.random.default_rng(seed).standard_normal(shape))


@every_engine
@every_dtype
@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("used", [(True, True), (True, False), (False, True)])
def test_it_is_its_formula(monkeypatch, engine, dtype, tolerance, moving, used):
    monkeypatch.setenv("NABLAFX_KERNELS", engine)
    audio = noise(2, TIME).to(dtype)
    values = [noise(2, BLOCKS, seed=n).to(dtype) for n in (2, 3)]
    before = [noise(2, BLOCKS, seed=n).to(dtype) for n in (4, 5)] if moving else values
    curves = [
        np.stack([line(u[n].double().numpy(), v[n].double().numpy(), TIME, BLOCK, SKIP) for n in range(2)])
        for u, v in zip(before, values, strict=True)
    ]
    expected = audio.double().numpy() * (curves[0] if used[0] else 1) + (curves[1] if used[1] else 0)
    gain, offset = (value if use else None for value, use in zip(values, used, strict=True))
    starts = before if moving else (None, None)
    output = ramp(audio, gain, offset, *starts, block_size=BLOCK, skip=SKIP)
    assert output.dtype == dtype
    np.testing.assert_allclose(output, expected, atol=10 * tolerance, rtol=0)


def test_constant_values_and_values_per_sample():
    audio = noise(2, 9)
    for gain, offset in ((noise(2, 1), noise(2, 9)), (noise(2, 9), None), (None, noise(2, 1)), (None, None)):
        expected = audio * (1 if gain is None else gain) + (0 if offset is None else offset)
        torch.testing.assert_close(ramp(audio, gain, offset), expected)


@every_engine
@pytest.mark.parametrize("needed", [n for n in itertools.product([False, True], repeat=5) if any(n)])
def test_gradients_for_every_subset_of_inputs(monkeypatch, engine, needed):
    monkeypatch.setenv("NABLAFX_KERNELS", engine)
    inputs = (noise(2, 16), *(noise(2, 4, seed=n) for n in range(2, 6)))
    leaves = [tensor.clone().requires_grad_(need) for tensor, need in zip(inputs, needed, strict=True)]
    assert torch.autograd.gradcheck(lambda *tensors: ramp(*tensors, block_size=5, skip=2), leaves)


@every_processor
@pytest.mark.parametrize("interpolated", [False, True])
@every_dtype
@given(cuts=st.lists(st.integers(0, 20), min_size=1, max_size=8))
def test_a_stream_of_steps_has_the_same_bits_as_the_whole(make, name, interpolated, dtype, tolerance, cuts):
    processor, time = make(interpolated=interpolated), sum(cuts)
    audio, values = noise(2, 1, time).to(dtype), noise(2, -(-time // BLOCK)).to(dtype)
    whole, _ = processor(audio, {name: Steps(values, -time % BLOCK, BLOCK)})
    state, parts, start = processor.initial_state(2, {name: values[:, 0] if time else torch.zeros(2)}), [], 0
    for block in audio.split(cuts, dim=-1):
        stop = start + block.shape[-1]
        first, end = start // BLOCK, -(-stop // BLOCK)
        steps = Steps(values[:, first:end] if stop > start else values[:, :0], -stop % BLOCK, BLOCK)
        output, state = processor(block, {name: steps}, state)
        parts.append(output)
        start = stop
    assert torch.equal(torch.cat(parts, dim=-1), whole)


@every_processor
def test_lines_meet_at_the_edges_of_blocks(make, name):
    processor, audio = make(interpolated=True), torch.ones(1, 1, 400, dtype=torch.float64)
    values = noise(1, 8)
    output = processor(audio, {name: Steps(values, 0, 50)})[0][0, 0]
    reached = processor(torch.ones(1, 1, 8).double(), {name: values})[0][0, 0]
    torch.testing.assert_close(output[49::50], reached)
    steps = (reached[1:] - reached[:-1]) / 50
    torch.testing.assert_close(output.diff()[49:].reshape(7, 50), steps[:, None].expand(7, 50))


@every_processor
@pytest.mark.parametrize("interpolated", [False, True])
def test_held_steps_and_other_parameters(make, name, interpolated):
    processor, audio, values = make(interpolated=interpolated), noise(2, 1, TIME), noise(2, BLOCKS)
    steps = Steps(values, SKIP, BLOCK)
    if not interpolated:
        torch.testing.assert_close(processor(audio, {name: steps})[0], processor(audio, {name: steps.over(TIME)})[0])
    laws.stream_equals_offline(processor, [3, 40, 1], moving_controls=True)
    laws.stream_equals_offline(processor, [3, 40, 1])


def test_shapes_that_do_not_match_are_refused():
    with pytest.raises(ModelError, match=r"ramp: .*\(2, blocks\).*\[\(2, 3\), \(2, 4\)\]"):
        ramp(noise(2, 15), noise(2, 3), noise(2, 4), block_size=5)
