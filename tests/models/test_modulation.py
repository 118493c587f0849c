"""The compiled modulation, alone and after a convolution, equals torch's operations in float64."""

from __future__ import annotations

import copy
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nablafx_core.controls import Control
from nablafx_core.steps import BlockStep, Steps
from nablafx_models.functional import modulation as module
from nablafx_models.functional.dilated_convolution import ConvolutionSettings, PartsRequest, apply_activation
from nablafx_models.functional.modulation import modulated, modulated_convolution
from nablafx_models.gcn import GCN
from nablafx_models.tcn import TCN


def assert_near(got, want):
    """Compare with a tolerance of 1e-5 of the peak, or of 1 if the peak is smaller."""
    peak = max(1.0, float(want.detach().abs().max())) if want.numel() else 1.0
    torch.testing.assert_close(got.to(want.dtype), want, rtol=0, atol=1e-5 * peak)


def function_under_test(tensors, how, steps, count, size, lead):
    """Return the modulated convolution, the maxima of its features and the rest of its input."""
    x, weight, bias, gain, values = tensors
    found = []

    def modulate(features, maxima):
        found.append(maxima)
        return BlockStep(features, steps._replace(values=values), {})

    y, _, rest = modulated_convolution(x, weight, bias, how, gain, PartsRequest(count, size, lead), modulate)
    return y, found[0], rest


def equation(tensors, how, steps, count, size, lead):
    """Compute the same with torch's operations, as the equation is written."""
    x, weight, bias, gain, values = tensors
    features = torch.nn.functional.conv1d(x, weight, bias, dilation=how.dilation)
    scale, shift = steps._replace(values=values).over(count).chunk(2, dim=1)
    y = apply_activation(scale * features[..., :count] + shift, how.activation)
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
    how = ConvolutionSettings(dilation, activation, draw(st.integers(0, span)))
    return tensors, (how, Steps(tensors[-1], skip, size), count, size, lead)


@settings(max_examples=80)
@given(layers())
def test_values_and_gradients_equal_those_of_the_equation(layer):
    tensors, how = layer
    fast, slow = ([t.to(dtype).requires_grad_() for t in tensors] for dtype in (torch.float32, torch.float64))
    outputs, wanted = function_under_test(fast, *how), equation(slow, *how)
    for got, want in zip(outputs, wanted, strict=True):
        assert got.dtype == torch.float32
        assert_near(got, want)
    for got, want in zip(gradients(outputs, fast), gradients(wanted, slow), strict=True):
        assert_near(got, want)


@settings(max_examples=15)
@given(layers())
def test_the_torch_path_equals_the_equation(layer):
    """float64 uses the torch path."""
    tensors, how = layer
    leaves, others = ([t.double().requires_grad_() for t in tensors] for _ in range(2))
    outputs, wanted = function_under_test(leaves, *how), equation(others, *how)
    for got, want in zip((*outputs, *gradients(outputs, leaves)), (*wanted, *gradients(wanted, others)), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("activation", ["identity", "tanh", "gate"])
def test_second_derivatives(activation):
    generator = torch.Generator().manual_seed(0)
    rows = 4 if activation == "gate" else 2
    shapes = ((1, 2, 40), (rows, 2, 3), (rows,), (2,), (1, 2 * rows, 5))
    tensors = [torch.randn(shape, generator=generator) for shape in shapes]
    how = (ConvolutionSettings(2, activation, 1), Steps(tensors[-1], 3, 8), 33, 8, 2)

    def penalty(function, dtype):
        leaves = [t.to(dtype).requires_grad_() for t in tensors]
        first = gradients(function(leaves, *how), leaves, create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in first), leaves)

    for got, want in zip(penalty(function_under_test, torch.float32), penalty(equation, torch.float64), strict=True):
        assert_near(got, want)


def test_features_in_the_memory_order_of_a_state_space_layer():
    features = torch.randn(3, 2, 200).transpose(0, 1).requires_grad_()
    values = torch.randn(2, 6, 2, requires_grad=True)
    out = modulated(features, Steps(values, 0, 100), 200, "tanh")
    assert out.transpose(0, 1).is_contiguous()
    want = module.modulated_torch(features, values, None, None, module.ModulationSettings(200, 100, 0, "tanh"))
    leaves = (features, values)
    for got, expected in zip((out, *gradients([out], leaves)), (want, *gradients([want], leaves)), strict=True):
        assert_near(got, expected)


def test_long_blocks_keep_their_precision():
    features, values = torch.randn(1, 1, 200_000), torch.randn(1, 2, 1)
    single, double = ([t.to(d).requires_grad_() for t in (features, values)] for d in (torch.float32, torch.float64))
    one, two = (modulated(f, Steps(v, 0, 200_000), 200_000, "tanh") for f, v in (single, double))
    for got, want in zip(torch.autograd.grad(one.sum(), single), torch.autograd.grad(two.sum(), double), strict=True):
        torch.testing.assert_close(got.double(), want, rtol=1e-5, atol=1e-6)


def test_a_block_with_nan_has_the_maximum_nan():
    x = torch.tensor([[[0.0, torch.nan, 3.0, 1.0, 2.0, 5.0] + [0.0] * 34 + [torch.nan]]])
    ones = torch.ones(1, 1, 1)
    found = []

    def modulate(features, maxima):
        found.append(maxima)
        return BlockStep(features, Steps(torch.ones(1, 2, 3), 17, 20), {})

    modulated_convolution(x, ones, None, ConvolutionSettings(1), None, PartsRequest(0, 20), modulate)
    assert found[0].isnan().tolist() == [[[True, False, True]]]


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
def test_networks_have_the_same_gradients_with_and_without_compiled_code(make, settings, moving, monkeypatch):
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

    with patch.object(module._Modulation, "apply", wraps=module._Modulation.apply) as used:
        fast = gradients_of(copy.deepcopy(model))
    assert used.call_count >= 3
    monkeypatch.setenv("NABLAFX_KERNELS", "torch")
    slow = gradients_of(copy.deepcopy(model))
    assert len(fast) == len(slow)
    for got, want in zip(fast, slow, strict=True):
        assert_near(got, want)
