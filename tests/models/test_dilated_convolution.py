"""The compiled dilated convolution has the values and gradients of torch in float64, for any shape."""

from __future__ import annotations

import copy
import itertools
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nablafx_core.kernels.pool import for_each
from nablafx_models.functional import dilated_convolution as module
from nablafx_models.functional.dilated_convolution import (
    ConvolutionSettings,
    dilated_convolution,
    dilated_convolution_torch,
)
from nablafx_models.gcn import GCN
from nablafx_models.tcn import TCN


def inputs(batch, ins, channels, taps, length, how, *, bias=True, gain=True, seed=0):
    """Return random x, weight, bias and gain in float32."""
    generator = torch.Generator().manual_seed(seed)
    rows = 2 * channels if how.activation == "gate" else channels
    x, weight = (torch.randn(*shape, generator=generator) for shape in ((batch, ins, length), (rows, ins, taps)))
    others = (torch.randn(rows, generator=generator), torch.randn(channels, generator=generator))
    return [
        x,
        weight / (ins * taps) ** 0.5,
        *(t if wanted else None for t, wanted in zip(others, (bias, gain), strict=True)),
    ]


def outputs_and_gradients(function, tensors, how, needed=(True,) * 4):
    """Return the output, and the gradients of a random sum of it for the inputs marked in `needed`."""
    leaves = [None if t is None else t.detach().requires_grad_(need) for t, need in zip(tensors, needed, strict=True)]
    y = function(*leaves[:3], how, leaves[3])
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y)
    wanted = [t for t in leaves if t is not None and t.requires_grad]
    return [y, *torch.autograd.grad(y, wanted, weights)]


def assert_near(got, want):
    """Compare with a tolerance of 1e-5 of the peak, or of 1 if the peak is smaller."""
    peak = max(1.0, float(want.detach().abs().max()))
    torch.testing.assert_close(got.to(want.dtype), want, rtol=0, atol=1e-5 * peak)


def assert_agrees(tensors, how, needed=(True,) * 4):
    fast = outputs_and_gradients(dilated_convolution, tensors, how, needed)
    slow = outputs_and_gradients(
        dilated_convolution_torch, [None if t is None else t.double() for t in tensors], how, needed
    )
    assert len(fast) == len(slow)
    for got, want in zip(fast, slow, strict=True):
        assert got.dtype == torch.float32
        assert_near(got, want)


@settings(max_examples=60)
@given(
    batch=st.integers(1, 3),
    ins=st.integers(1, 9),
    times=st.integers(1, 3),
    taps=st.integers(1, 5),
    dilation=st.integers(1, 70),
    time=st.integers(1, 600),
    activation=st.sampled_from(["identity", "tanh", "gate"]),
    bias=st.booleans(),
    gain=st.booleans(),
    data=st.data(),
)
def test_values_and_gradients_equal_those_of_torch(
    batch, ins, times, taps, dilation, time, activation, bias, gain, data
):
    span = (taps - 1) * dilation
    how = ConvolutionSettings(dilation, activation, data.draw(st.integers(0, span)))
    channels = ins * times if gain else data.draw(st.integers(1, 9))
    assert_agrees(inputs(batch, ins, channels, taps, time + span, how, bias=bias, gain=gain), how)


@pytest.mark.parametrize("needed", [n for n in itertools.product([False, True], repeat=4) if any(n)])
def test_gradients_for_every_subset_of_inputs(needed):
    how = ConvolutionSettings(3, "gate", 2)
    assert_agrees(inputs(2, 2, 4, 3, 90, how), how, needed)


def test_long_signals_keep_their_precision():
    how = ConvolutionSettings(2, "tanh", 1)
    assert_agrees(inputs(1, 4, 4, 3, 100_000, how), how)


@pytest.mark.parametrize(
    "cut",
    [
        lambda x: x[:, ::2, 5:],
        lambda x: x[..., ::2],
        lambda x: x.transpose(0, 1),
        lambda x: x[:1, :1].expand(3, 4, -1),
        lambda x: x[..., :1].expand(-1, -1, 90),
    ],
    ids=["slice", "every other sample", "transposed", "one channel", "one sample"],
)
def test_non_contiguous_signals(cut):
    how = ConvolutionSettings(4, "tanh", 3)
    x = inputs(4, 4, 4, 3, 120, how)[0]
    ins = cut(x).shape[1]
    others = inputs(1, ins, 2 * ins, 3, 120, how)[1:]

    def through(function, x, *rest):
        return outputs_and_gradients(lambda x, *settings: function(cut(x), *settings), [x, *rest], how)

    fast, slow = (
        through(dilated_convolution, x, *others),
        through(dilated_convolution_torch, x.double(), *(t.double() for t in others)),
    )
    for got, want in zip(fast, slow, strict=True):
        assert_near(got, want)


def test_non_contiguous_gradient():
    how = ConvolutionSettings(1, "tanh")
    x, weight, bias, _ = inputs(2, 3, 3, 2, 50, how)
    for leaf in (x, weight, bias):
        leaf.requires_grad_()
    summed = torch.autograd.grad(dilated_convolution(x, weight, bias, how).sum(), (x, weight, bias))
    doubles = [t.detach().double().requires_grad_() for t in (x, weight, bias)]
    for got, want in zip(
        summed, torch.autograd.grad(dilated_convolution_torch(*doubles, how).sum(), doubles), strict=True
    ):
        assert_near(got, want)


@pytest.mark.parametrize("activation", ["identity", "tanh", "gate"])
def test_a_sample_does_not_depend_on_where_the_signal_is_cut(activation):
    how = ConvolutionSettings(3, activation, 1)
    x, *rest = inputs(1, 3, 6, 3, 300, how)
    whole = dilated_convolution(x, *rest[:2], how, rest[2])
    for start, stop in ((0, 7), (1, 300), (60, 140), (293, 300)):
        torch.testing.assert_close(
            dilated_convolution(x[..., start:stop], *rest[:2], how, rest[2]),
            whole[..., start : stop - 6],
            rtol=0,
            atol=0,
        )


@pytest.mark.parametrize("activation", ["tanh", "gate"])
def test_second_derivatives(activation):
    how = ConvolutionSettings(2, activation, 1)
    tensors = inputs(1, 2, 4, 3, 40, how)

    def penalty(function, dtype):
        leaves = [t.to(dtype).requires_grad_() for t in tensors]
        first = torch.autograd.grad(function(*leaves[:3], how, leaves[3]).square().sum(), leaves[0], create_graph=True)[
            0
        ]
        return torch.autograd.grad(first.square().sum(), leaves)

    for got, want in zip(
        penalty(dilated_convolution, torch.float32), penalty(dilated_convolution_torch, torch.float64), strict=True
    ):
        assert_near(got, want)


@pytest.mark.parametrize("activation", ["identity", "tanh", "gate"])
def test_gradcheck_of_the_torch_path(activation):
    how = ConvolutionSettings(2, activation, 1)
    x, weight, bias, gain = (t.double().requires_grad_() for t in inputs(2, 2, 4, 3, 9, how))
    assert torch.autograd.gradcheck(lambda x, w, b, g: dilated_convolution(x, w, b, how, g), (x, weight, bias, gain))


def test_nan_reaches_the_samples_that_depend_on_it():
    how = ConvolutionSettings(1, "tanh")
    x, weight, bias, _ = inputs(1, 1, 4, 1, 100, how, gain=False)
    x[..., 50] = torch.nan
    assert dilated_convolution(x, weight, bias, how).isnan().any(1).nonzero().tolist() == [[0, 50]]


def test_results_do_not_depend_on_the_number_of_threads():
    how = ConvolutionSettings(2, "gate", 1)
    tensors = inputs(5, 2, 4, 3, 300, how)
    one = outputs_and_gradients(dilated_convolution, tensors, how)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        done = []
        for_each(5, done.append)
        three = outputs_and_gradients(dilated_convolution, tensors, how)
    finally:
        torch.set_num_threads(before)
    assert sorted(done) == [0, 1, 2, 3, 4]
    for a, b in zip(one, three, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize("make", [TCN, GCN])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"residual": False, "bias": False},
        {"causal": False, "norm": "batch"},
        {"channel_growth": 2, "residual_delay": 1},
        {"conditioning": "tvfilm"},
    ],
    ids=str,
)
def test_networks_have_the_same_gradients_with_and_without_compiled_code(make, settings, monkeypatch):
    torch.manual_seed(0)
    model = make(num_blocks=3, kernel_size=3, channel_width=6, **settings)
    audio, target = torch.randn(2, 2, 1, 700).unbind()

    def gradients():
        network = copy.deepcopy(model)  # because the running statistics of a norm change the start of the next file
        out = network(audio)[0]
        (out - target).square().mean().backward()
        return [out.detach(), *(p.grad.clone() for p in network.parameters() if p.grad is not None)]

    with patch.object(module._DilatedConvolution, "apply", wraps=module._DilatedConvolution.apply) as used:
        fast = gradients()
        assert used.call_count >= 3
        monkeypatch.setenv("NABLAFX_KERNELS", "torch")
        used.reset_mock()
        slow = gradients()
        assert used.call_count == 0
    for got, want in zip(fast, slow, strict=True):
        assert_near(got, want)
