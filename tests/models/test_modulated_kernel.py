"""A convolution in parts and its compiled modulation against torch's operations in float64."""

from __future__ import annotations

import copy
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nablafx_core.controls import Control
from nablafx_core.steps import Steps
from nablafx_models.gcn import GCN
from nablafx_models.kernels import modulated as module
from nablafx_models.kernels.dilated import Settings, Wanted, activated, parted
from nablafx_models.kernels.modulated import modulated
from nablafx_models.tcn import TCN


def assert_near(got, want):
    """Within 1e-5 of the peak, or of 1."""
    peak = max(1.0, float(want.detach().abs().max())) if want.numel() else 1.0
    torch.testing.assert_close(got.to(want.dtype), want, rtol=0, atol=1e-5 * peak)


def through_kernels(tensors, how, steps, count, activation, size, lead):
    """A convolution, its modulation and its residual; and the maxima and the rest, which a layer uses elsewhere."""
    x, weight, bias, gain, values = tensors
    parts = parted(x, weight, bias, how, gain, Wanted(len(gain), count, size, lead))
    y = modulated(parts.features, steps._replace(values=values), count, activation, parts.residual, gain)
    return y, parts.maxima, parts.rest


def in_words(tensors, how, steps, count, activation, size, lead):
    """The same, as a textbook has it."""
    x, weight, bias, gain, values = tensors
    features = torch.nn.functional.conv1d(x, weight, bias, dilation=how.dilation)
    scale, shift = steps._replace(values=values).over(count).chunk(2, dim=1)
    y = activated(scale * features[..., :count] + shift, activation)
    residual = x[..., how.residual_start : how.residual_start + count].repeat_interleave(len(gain) // x.shape[1], dim=1)
    blocks = [slice(max(b, 0), b + size) for b in range(-lead, features.shape[-1], size)]
    maxima = torch.stack([features[..., block].amax(-1) for block in blocks], dim=-1)
    return y + gain[:, None] * residual, maxima, x[..., count:]


def gradients(outputs, leaves, **kwargs):
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(out.shape, generator=generator).to(out) for out in outputs]
    total = sum((out * weight).sum() for out, weight in zip(outputs, weights, strict=True))
    return torch.autograd.grad(total, leaves, **kwargs)


@st.composite
def layers(draw):
    ins, taps, dilation = draw(st.integers(1, 5)), draw(st.integers(1, 4)), draw(st.integers(1, 40))
    activation = draw(st.sampled_from(["identity", "tanh", "gate"]))
    channels, span, time = ins * draw(st.integers(1, 3)), (taps - 1) * dilation, draw(st.integers(1, 700))
    count, size = draw(st.integers(1, time)), draw(st.integers(1, 150))
    skip, lead, unused = draw(st.integers(0, size - 1)), draw(st.integers(0, size - 1)), draw(st.integers(0, 2))
    blocks = unused + -(-(count + skip) // size)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    rows, batch = channels * (2 if activation == "gate" else 1), draw(st.integers(1, 2))
    shapes = ((batch, ins, time + span), (rows, ins, taps), (rows,), (channels,), (batch, 2 * rows, blocks))
    tensors = [torch.randn(shape, generator=generator) for shape in shapes]
    tensors[1] /= (ins * taps) ** 0.5
    how = Settings(dilation, residual_start=draw(st.integers(0, span)))
    return tensors, (how, Steps(tensors[-1], skip, size), count, activation, size, lead)


@settings(max_examples=80)
@given(layers())
def test_values_and_gradients_are_those_of_the_equation(layer):
    tensors, how = layer
    fast, slow = ([t.to(dtype).requires_grad_() for t in tensors] for dtype in (torch.float32, torch.float64))
    outputs, wanted = through_kernels(fast, *how), in_words(slow, *how)
    for got, want in zip(outputs, wanted, strict=True):
        assert got.dtype == torch.float32
        assert_near(got, want)
    for got, want in zip(gradients(outputs, fast), gradients(wanted, slow), strict=True):
        assert_near(got, want)


@settings(max_examples=15)
@given(layers())
def test_the_form_in_torch(layer):
    """Which is what float64 takes."""
    tensors, how = layer
    leaves, others = ([t.double().requires_grad_() for t in tensors] for _ in range(2))
    outputs, wanted = through_kernels(leaves, *how), in_words(others, *how)
    for got, want in zip((*outputs, *gradients(outputs, leaves)), (*wanted, *gradients(wanted, others)), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("activation", ["identity", "tanh", "gate"])
def test_second_derivatives(activation):
    generator = torch.Generator().manual_seed(0)
    rows = 4 if activation == "gate" else 2
    shapes = ((1, 2, 40), (rows, 2, 3), (rows,), (2,), (1, 2 * rows, 5))
    tensors = [torch.randn(shape, generator=generator) for shape in shapes]
    how = (Settings(2, residual_start=1), Steps(tensors[-1], 3, 8), 33, activation, 8, 2)

    def penalty(function, dtype):
        leaves = [t.to(dtype).requires_grad_() for t in tensors]
        first = gradients(function(leaves, *how), leaves, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in first), leaves)

    for got, want in zip(penalty(through_kernels, torch.float32), penalty(in_words, torch.float64), strict=True):
        assert_near(got, want)


def test_features_as_a_state_space_layer_leaves_them():
    features = torch.randn(3, 2, 200).transpose(0, 1).requires_grad_()
    values = torch.randn(2, 6, 2, requires_grad=True)
    out = modulated(features, Steps(values, 0, 100), 200, "tanh")
    assert out.transpose(0, 1).is_contiguous()
    want = module.textbook(features, values, None, None, module.Settings(200, 100, 0, "tanh"))
    leaves = (features, values)
    for got, expected in zip((out, *gradients([out], leaves)), (want, *gradients([want], leaves)), strict=True):
        assert_near(got, expected)


def test_long_blocks_lose_no_digits():
    features, values = torch.randn(1, 1, 200_000), torch.randn(1, 2, 1)
    single, double = ([t.to(d).requires_grad_() for t in (features, values)] for d in (torch.float32, torch.float64))
    one, two = (modulated(f, Steps(v, 0, 200_000), 200_000, "tanh") for f, v in (single, double))
    for got, want in zip(torch.autograd.grad(one.sum(), single), torch.autograd.grad(two.sum(), double), strict=True):
        torch.testing.assert_close(got.double(), want, rtol=1e-5, atol=1e-6)


def test_what_is_not_a_number_is_the_maximum():
    x = torch.tensor([[[0.0, torch.nan, 3.0, 1.0, 2.0, 5.0] + [0.0] * 34 + [torch.nan]]])
    ones = torch.ones(1, 1, 1)
    maxima = parted(x, ones, None, Settings(1), None, Wanted(1, 0, 20)).maxima
    assert maxima.isnan().tolist() == [[[True, False, True]]]


KNOBS = [Control("a"), Control("b")]


@pytest.mark.parametrize("make", [TCN, GCN])
@pytest.mark.parametrize(
    "settings",
    [
        {"conditioning": "tvfilm"},
        {"conditioning": "tvfilm", "alignment": "end"},
        {"conditioning": "tvfilm", "lookahead": False, "residual_delay": 1},
        {"conditioning": "tfilm"},
        {"conditioning": "tfilm", "causal": False},
        {"conditioning": "tfilm", "lookahead": False, "cond_block_size": 37},
        {"conditioning": "ttfilm", "channel_growth": 2, "residual": False},
        {"conditioning": "film"},
        {"conditioning": "film", "norm": "batch"},
    ],
    ids=str,
)
@pytest.mark.parametrize("moving", [False, True], ids=["knobs", "automation"])
def test_networks_train_the_same_with_and_without(make, settings, moving, monkeypatch):
    torch.manual_seed(0)
    model = make(num_blocks=3, kernel_size=3, channel_width=6, controls=KNOBS, **settings)
    audio, target = torch.randn(2, 2, 1, 700).unbind()
    knobs = torch.rand(2, 2, 700) if moving else torch.rand(2, 2)

    def gradients_of(network):
        out, state = network(audio[..., :500], knobs[..., :500])
        more, _ = network(audio[..., 500:], knobs[..., 500:] if moving else knobs, state)
        out = torch.cat((out, more), dim=-1)
        (out - target).square().mean().backward()
        return [out.detach(), *(p.grad for p in network.parameters() if p.grad is not None)]

    with patch.object(module._Modulated, "apply", wraps=module._Modulated.apply) as used:
        fast = gradients_of(copy.deepcopy(model))
    assert used.call_count >= 3
    monkeypatch.setenv("NABLAFX_KERNELS", "torch")
    slow = gradients_of(copy.deepcopy(model))
    assert len(fast) == len(slow)
    for got, want in zip(fast, slow, strict=True):
        assert_near(got, want)
