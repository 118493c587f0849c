"""Compressor, limiter, expander and gate: equations, adjoint, curves and time constants."""

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
from nablafx_dsp.functional.dynamics import CURVES, dynamics, dynamics_coefficients, dynamics_gain, static_curve
from reference.dynamics import gains, output_db

pytestmark = pytest.mark.slow

RATE, TIME, BLOCK, SKIP = 1000, 61, 7, 3
#: Frames, and the length of a block: constant, per sample, per block.
FRAMES = {"constant": (1, 1, 0), "per sample": (TIME, 1, 0), "per block": (10, BLOCK, SKIP)}
RANGES = {
    "threshold_db": (-40, -6),
    "ratio": (1.5, 8),
    "range_db": (10, 30),
    "knee_db": (4, 16),
    "attack_ms": (0.5, 5),
    "release_ms": (5, 30),
    "makeup_db": (-6, 6),
    "rms_ms": (0.3, 2),
}
every_frames = pytest.mark.parametrize(("frames", "block_size", "skip"), FRAMES.values(), ids=FRAMES)
every_engine = pytest.mark.parametrize("engine", ["auto", "torch"])
every_kind = pytest.mark.parametrize("kind", list(CURVES))
every_smoothing = pytest.mark.parametrize("smoothing", ["branching", "decoupled"])


def names(kind, *without):
    unused = {*without, *(() if CURVES[kind].ratio is None else ("ratio",))}
    return [name for name in RANGES if name not in unused and (name != "range_db" or CURVES[kind].ranged)]


def settings(kind, frames, *without, batch=2):
    """Return random parameters in units, each (batch, frames)."""
    random = np.random.default_rng(2)
    return {name: torch.tensor(random.uniform(*RANGES[name], (batch, frames))) for name in names(kind, *without)}


def noise(*shape, seed=1):
    """Return noise whose level changes every five samples by up to 80 dB, to reach all parts of a curve."""
    random = np.random.default_rng(seed)
    level = np.repeat(random.uniform(-3, 0.3, (*shape[:-1], -(-shape[-1] // 5))), 5, axis=-1)[..., : shape[-1]]
    return torch.tensor(random.uniform(0.5, 1, shape) * random.choice([-1, 1], shape) * 10**level)


def states(kind):
    state = torch.tensor(np.random.default_rng(5).uniform(0, 1, (2, 3)))
    return state * torch.tensor([0.1, 5, 5]) * torch.tensor([1, CURVES[kind].side, CURVES[kind].side])


def slow(kind, smoothing, key, parameters, state, frames, block_size, skip):
    """Compute the reference for one item."""
    time = len(key)
    held = {
        name: value.expand(time) if frames == 1 else Steps(value, skip, block_size).over(time)
        for name, value in parameters.items()
    }

    def frame(t):
        p = {name: float(value[t]) for name, value in held.items()}
        times = {name: p.get(f"{name}_ms", 0) * RATE / 1000 for name in ("attack", "release", "rms")}
        decibels = {name: p.get(f"{name}_db", 0) for name in ("threshold", "knee", "range", "makeup")}
        return {"ratio": p.get("ratio", CURVES[kind].ratio), **times, **decibels}

    return gains(kind, key.tolist(), frame, smoothing, state.tolist())


@every_kind
@every_smoothing
@every_frames
@every_engine
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-11)])
@pytest.mark.parametrize("detector", ["peak", "rms"])
def test_it_is_its_equations(
    monkeypatch, kind, smoothing, frames, block_size, skip, engine, dtype, tolerance, detector
):
    monkeypatch.setenv("NABLAFX_KERNELS", engine)
    key, state = noise(2, TIME).to(dtype), states(kind)
    parameters = settings(kind, frames, *(["rms_ms"] if detector == "peak" else []))
    coefficients = dynamics_coefficients(parameters, kind, RATE, smoothing, key)
    gain, after = dynamics_gain(key, coefficients, CURVES[kind].side, state, block_size=block_size, skip=skip)
    assert gain.dtype == dtype
    assert after.dtype == torch.float64
    for item in range(2):
        each = {name: value[item] for name, value in parameters.items()}
        expected, last = slow(kind, smoothing, key[item].double(), each, state[item], frames, block_size, skip)
        np.testing.assert_allclose(gain[item], expected, rtol=tolerance)
        np.testing.assert_allclose(after[item], last, rtol=1e-9, atol=1e-9)


@every_kind
@given(
    threads=st.sampled_from([1, 2]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    cuts=st.lists(st.integers(0, 40), min_size=1, max_size=6),
    frames=st.sampled_from(list(FRAMES)),
)
def test_a_stream_has_the_same_bits_as_the_whole(kind, threads, dtype, cuts, frames):
    time, before = sum(cuts), torch.get_num_threads()
    block_size = BLOCK if frames == "per block" else 1
    count = 1 if frames == "constant" else max(-(-time // block_size), 1)
    audio, parts, state, start = noise(2, 2, time).to(dtype), [], None, 0
    parameters = settings(kind, count)
    torch.set_num_threads(threads)
    whole, last = dynamics(
        audio, parameters, kind=kind, sample_rate=RATE, block_size=block_size, skip=-time % block_size
    )
    for block in audio.split(cuts, dim=-1):
        stop = start + block.shape[-1]
        first, end = start // block_size, -(-stop // block_size)
        own, skip = parameters, 0
        if count > 1:
            own = {name: value[:, first : max(end, first + 1)] for name, value in parameters.items()}
            skip = own["attack_ms"].shape[-1] * block_size + first * block_size - stop
        output, state = dynamics(block, own, state, kind=kind, sample_rate=RATE, block_size=block_size, skip=skip)
        parts.append(output)
        start = stop
    torch.set_num_threads(before)
    assert torch.equal(torch.cat(parts, dim=-1), whole)
    assert torch.equal(state, last)


@every_kind
@every_smoothing
@every_frames
@every_engine
def test_gradients_to_audio_state_and_every_parameter(monkeypatch, kind, smoothing, frames, block_size, skip, engine):
    monkeypatch.setenv("NABLAFX_KERNELS", engine)
    parameters, options = settings(kind, frames), {"kind": kind, "smoothing": smoothing, "sample_rate": RATE}

    def call(audio, state, *values):
        named = dict(zip(parameters, values, strict=True))
        return dynamics(audio, named, state, block_size=block_size, skip=skip, **options)

    tensors = noise(2, 1, TIME), states(kind)[:, None], *parameters.values()
    each = [tensor.clone().requires_grad_() for tensor in tensors]
    assert torch.autograd.gradcheck(call, each, fast_mode=True)
    together = torch.autograd.grad(call(*each)[0].abs().sum(), each)
    for number, gradient in enumerate(together):
        assert bool(gradient.any())  # otherwise the comparison would prove nothing
        leaves = [tensor.clone().requires_grad_(number == n) for n, tensor in enumerate(tensors)]
        (alone,) = torch.autograd.grad(call(*leaves)[0].abs().sum(), [leaves[number]])
        torch.testing.assert_close(alone, gradient, rtol=1e-12, atol=1e-12)


@every_kind
@every_engine
def test_gradients_for_every_subset_of_inputs(monkeypatch, kind, engine):
    monkeypatch.setenv("NABLAFX_KERNELS", engine)
    parameters = dynamics_coefficients(settings(kind, 10), kind, RATE, "branching", torch.zeros(1))
    tensors = noise(2, TIME), parameters, states(kind)

    def call(key, coefficients, state):
        return dynamics_gain(key, coefficients, CURVES[kind].side, state, block_size=BLOCK, skip=SKIP)

    for needed in itertools.product([False, True], repeat=3):
        if any(needed):
            leaves = [t.clone().requires_grad_(need) for t, need in zip(tensors, needed, strict=True)]
            single = torch.autograd.grad(call(*leaves)[0].sum(), [leaf for leaf in leaves if leaf.requires_grad])
            every = [t.clone().requires_grad_() for t in tensors]
            whole = torch.autograd.grad(call(*every)[0].sum(), every)
            kept = [g for g, need in zip(whole, needed, strict=True) if need]
            torch.testing.assert_close(single, tuple(kept), rtol=1e-12, atol=1e-12)


@every_kind
@every_smoothing
def test_gradients_in_float32_are_those_in_float64(kind, smoothing):
    found, audio = [], noise(2, 1, 400).float()
    for dtype in (torch.float32, torch.float64):
        leaves = {name: v.float().to(dtype).requires_grad_() for name, v in settings(kind, 1).items()}
        sound = audio.to(dtype).requires_grad_()
        output, _ = dynamics(sound, leaves, kind=kind, smoothing=smoothing, sample_rate=RATE)
        found.append(torch.autograd.grad(output.square().sum(), [sound, *leaves.values()]))
    for single, double in zip(*found, strict=True):
        torch.testing.assert_close(single.double(), double, rtol=0, atol=1e-5 * float(double.abs().max()))


@every_kind
def test_gradients_cross_chunks_through_the_state(kind):
    audio, parameters = noise(2, 1, 50), {name: v.requires_grad_() for name, v in settings(kind, 1).items()}
    options = {"kind": kind, "sample_rate": RATE}
    whole = torch.autograd.grad(dynamics(audio, parameters, **options)[0].square().sum(), [*parameters.values()])
    first, state = dynamics(audio[..., :20], parameters, **options)
    second, _ = dynamics(audio[..., 20:], parameters, state, **options)
    both = torch.autograd.grad(first.square().sum() + second.square().sum(), [*parameters.values()])
    torch.testing.assert_close(both, whole)


@every_kind
@given(
    threshold=st.floats(-60, 0), ratio=st.floats(1, 20), knee=st.one_of(st.just(0.0), st.floats(0.1, 24)),
    span=st.floats(0, 80),
)  # fmt: skip
def test_the_static_curve_is_its_formula_and_the_gain_of_a_steady_level(kind, threshold, ratio, knee, span):
    levels, curve = torch.linspace(-90, 20, 111, dtype=torch.float64), CURVES[kind]
    ratio = ratio if curve.ratio is None else curve.ratio
    slope = float(curve.slope(torch.tensor(ratio, dtype=torch.float64)))
    bound = span if curve.ranged else math.inf
    numbers = [torch.tensor(value, dtype=torch.float64) for value in (threshold, slope, knee, bound)]
    expected = [output_db(kind, float(level), threshold, ratio, knee, bound) - float(level) for level in levels]
    np.testing.assert_allclose(static_curve(curve.side, levels, *numbers), expected, atol=1e-9)
    amplitudes = torch.sqrt(10 ** (levels / 10) - 1e-10)
    parameters = {"threshold_db": threshold, "knee_db": knee, "attack_ms": 1.0, "release_ms": 1.0}
    parameters |= {"ratio": ratio} if curve.ratio is None else {}
    parameters |= {"range_db": span} if curve.ranged else {}
    settings = {name: torch.full((111,), value, dtype=torch.float64) for name, value in parameters.items()}
    coefficients = dynamics_coefficients(settings, kind, RATE, "branching", amplitudes)
    steady = dynamics_gain(amplitudes[:, None].expand(-1, 60), coefficients, curve.side)[0][:, -1]
    np.testing.assert_allclose(20 * torch.log10(steady), expected, atol=1e-9)


def reduction(kind, smoothing, key, **parameters):
    """Return the gain in dB for a key (time,) at 48 kHz."""
    values = {name: torch.tensor([value], dtype=torch.float64) for name, value in parameters.items()}
    coefficients = dynamics_coefficients(values, kind, 48000, smoothing, key)
    return 20 * torch.log10(dynamics_gain(key[None], coefficients, CURVES[kind].side)[0][0])


@every_smoothing
@pytest.mark.parametrize(("attack", "release"), [(1.0, 50.0), (20.0, 200.0)])
def test_a_step_is_63_percent_done_after_the_attack_and_after_the_release(smoothing, attack, release):
    up, total = round(48 * attack), 48000
    key = torch.cat([torch.ones(2 * total), torch.full((2 * total,), 1e-3)]).double()
    options = {"threshold_db": -20.0, "ratio": 4.0, "attack_ms": attack, "release_ms": release}
    gain = reduction("compressor", smoothing, key, **options)
    full = 20 * (1 / 4 - 1)
    assert abs(float(gain[up - 1] / full) - (1 - math.exp(-1))) < 1e-6
    down = round(48 * release)
    if smoothing == "branching":
        assert abs(float(gain[2 * total + down - 1] / full) - math.exp(-1)) < 1e-6
    else:  # release and attack filters in series, whose times finally add up
        late = gain[2 * total + 4 * down :][: down + 1] / full
        assert abs(float(late[-1] / late[0]) - math.exp(-1)) < 1e-3


@every_smoothing
@pytest.mark.parametrize("kind", ["expander", "gate"])
def test_expander_and_gate_open_with_their_attack_after_silence(kind, smoothing):
    up = round(48 * 5.0)
    key = torch.cat([torch.zeros(100), torch.ones(4800)]).double()
    ratio = {"ratio": 3.0} if kind == "expander" else {}
    gain = reduction(kind, smoothing, key, threshold_db=-20.0, range_db=40.0, attack_ms=5.0, release_ms=500.0, **ratio)
    torch.testing.assert_close(gain[:100], torch.full((100,), -40.0, dtype=torch.float64))
    assert abs(float(gain[100 + up - 1] / -40) - math.exp(-1)) < 1e-6


def test_with_one_time_constant_it_is_a_filter_of_the_curve():
    key = noise(1, 3000)
    settings = {
        "threshold_db": -30.0,
        "ratio": 4.0,
        "knee_db": 6.0,
        "attack_ms": 20.0,
        "release_ms": 20.0,
        "rms_ms": 5.0,
    }
    gain = reduction("compressor", "branching", key[0], **settings)
    pole, averaging = math.exp(-1 / 960), math.exp(-1 / 240)
    level = 10 * np.log10(lfilter([1 - averaging], [1, -averaging], key[0] ** 2) + 1e-10)
    wanted = [output_db("compressor", x, -30, 4, 6, math.inf) - x for x in level]
    np.testing.assert_allclose(gain, lfilter([1 - pole], [1, -pole], wanted), atol=1e-9)


@every_kind
def test_linked_channels_have_one_gain_and_others_their_own(kind):
    audio, parameters = noise(2, 3, 200), settings(kind, 1)
    options = {"kind": kind, "sample_rate": RATE}
    linked, state = dynamics(audio, parameters, **options)
    assert state.shape == (2, 1, 3)
    loudest = audio.abs().amax(1, keepdim=True)
    expected = audio * dynamics(loudest, parameters, **options)[0] / loudest
    torch.testing.assert_close(linked, expected)
    own, state = dynamics(audio, parameters, link=False, **options)
    assert state.shape == (2, 3, 3)
    for channel in range(3):
        alone, last = dynamics(audio[:, channel : channel + 1], parameters, **options)
        assert torch.equal(own[:, channel], alone[:, 0])
        assert torch.equal(state[:, channel], last[:, 0])


def test_a_key_is_detected_instead_of_the_audio():
    audio, key, parameters = noise(2, 2, 200), noise(2, 1, 200, seed=9), settings("compressor", 1)
    ducked, _ = dynamics(audio, parameters, sample_rate=RATE, key=key)
    torch.testing.assert_close(ducked, audio * (dynamics(key, parameters, sample_rate=RATE)[0] / key))


@pytest.mark.parametrize("engine", ["auto", "torch"])
def test_non_contiguous_and_empty_audio(monkeypatch, engine):
    monkeypatch.setenv("NABLAFX_KERNELS", engine)
    key, state = noise(2, 60), states("compressor")
    coefficients = dynamics_coefficients(settings("compressor", 1), "compressor", RATE, "decoupled", key)
    turned = dynamics_gain(key.T.contiguous().T, coefficients, 1.0)
    torch.testing.assert_close(turned, dynamics_gain(key, coefficients, 1.0), rtol=0, atol=0)
    nothing, after = dynamics_gain(key[:, :0], coefficients, 1.0, state)
    assert nothing.shape == (2, 0)
    assert torch.equal(after, state)


def test_the_torch_engine_agrees_over_a_long_signal(monkeypatch):
    key = noise(1, 100, seed=3).repeat_interleave(200, dim=1) * noise(1, 20_000)
    for smoothing, (attack, release) in itertools.product(["branching", "decoupled"], [(1.0, 100.0), (50.0, 5.0)]):
        values = {"threshold_db": -40.0, "ratio": 8.0, "attack_ms": attack, "release_ms": release}
        compiled = reduction("compressor", smoothing, key[0], **values)
        with monkeypatch.context() as patch:
            patch.setenv("NABLAFX_KERNELS", "torch")
            plain = reduction("compressor", smoothing, key[0], **values)
        torch.testing.assert_close(plain, compiled, rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "ducker"}, "'ducker' .* Kinds: compressor, limiter"),
        ({"kind": "gate"}, "gate .*range_db"),
        ({"smoothing": "soft"}, "smoothing 'soft'"),
        ({"key": torch.zeros(1, 1, 9)}, r"key .*\(1, 1, 9\)"),
        ({"key": torch.zeros(2, 1, 14), "link": False}, "key has 1 channels and the audio 2"),
        ({"block_size": 8}, "2 frames of 8 samples"),
    ],
)  # fmt: skip
def test_arguments_that_do_not_match_are_refused(arguments, message):
    frames = 2 if "block_size" in arguments else 1
    with pytest.raises(ModelError, match=message):
        dynamics(torch.zeros(2, 2, 14), settings("compressor", frames), **{"skip": 3 if frames == 2 else 0} | arguments)
