"""Losses: items are independent, silence gives finite values, and values equal those of auraloss or numpy."""

from __future__ import annotations

import auraloss
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nablafx_core.errors import ConfigError, ModelError
from nablafx_core.scoring.losses import DC, ESR, L1, MSE, LogCosh, MultiResolutionSTFT, WeightedLoss

SMALL_STFT = {"fft_sizes": [64, 128], "hop_sizes": [16, 25], "win_lengths": [40, 128]}
LOSSES = {
    "l1": L1(),
    "mse": MSE(),
    "esr": ESR(),
    "esr_emphasised": ESR(pre_emphasis=0.85),
    "dc": DC(),
    "log_cosh": LogCosh(),
    "mr_stft": MultiResolutionSTFT(**SMALL_STFT),
    "mr_stft_linear": MultiResolutionSTFT(**SMALL_STFT, w_lin_mag=0.5),
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())


def signals(batch: int, channels: int = 1, time: int = 600, seed: int = 0, dtype: torch.dtype = torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, batch, channels, time, generator=generator, dtype=dtype).mul(0.3).unbind()


@every_loss
@settings(derandomize=True, deadline=None, max_examples=10)
@given(seed=st.integers(0, 1000), channels=st.integers(1, 2), gain=st.floats(1e-3, 1e3))
def test_a_batch_of_two_equals_two_batches_of_one(loss, seed, channels, gain):
    prediction, target = signals(2, channels, seed=seed)
    prediction[1] *= gain
    together = loss(prediction, target)
    alone = torch.cat([loss(prediction[i : i + 1], target[i : i + 1]) for i in range(2)])
    assert together.shape == (2,)
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-12)


@every_loss
@pytest.mark.parametrize("silent", ["both", "target", "prediction"])
def test_silence_is_finite_with_finite_gradients(loss, silent):
    prediction, target = signals(1, dtype=torch.float32)
    if silent in ("both", "target"):
        target = torch.zeros_like(target)
    if silent in ("both", "prediction"):
        prediction = torch.zeros_like(prediction)
    prediction.requires_grad_()
    value = loss(prediction, target)
    value.sum().backward()
    assert torch.isfinite(value).all() and torch.isfinite(prediction.grad).all()
    if silent == "both":
        assert value.item() == 0


@every_loss
def test_gradient(loss):
    prediction, target = signals(2, time=160)
    assert torch.autograd.gradcheck(loss, (prediction.requires_grad_(), target), fast_mode=True)


def test_time_domain_losses_equal_numpy():
    prediction, target = signals(3)
    p, t = prediction.numpy()[:, 0], target.numpy()[:, 0]
    e = p - t
    emphasis = np.eye(600) - 0.85 * np.eye(600, k=-1)
    expected = {
        "l1": np.abs(e).mean(1),
        "mse": (e**2).mean(1),
        "esr": (e**2).mean(1) / ((t**2).mean(1) + 1e-4),
        "esr_emphasised": ((e @ emphasis.T) ** 2).mean(1) / (((t @ emphasis.T) ** 2).mean(1) + 1e-4),
        "dc": e.mean(1) ** 2 / ((t**2).mean(1) + 1e-4),
        "log_cosh": np.log(np.cosh(e)).mean(1),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(LOSSES[name](prediction, target).numpy(), value, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    "loss", [ESR(), DC(), MultiResolutionSTFT(**SMALL_STFT, w_log_mag=0.0)], ids=["esr", "dc", "sc"]
)
def test_a_fade_out_does_not_outweigh_the_note(loss):
    """An error of -57 dB stays a small loss on a target of -80 dB, where its ratio to the target is above 10."""
    prediction, note = signals(1)
    error = 0.001 * (1 + prediction)
    loud, quiet = (loss(level * note + error, level * note).item() for level in (0.1, 1e-4))
    assert 0 < loud < quiet < 0.2


def test_log_cosh_of_small_and_large_errors_in_float32():
    def value(error: float) -> float:
        return LogCosh(a=2.0)(torch.full((1, 1, 8), error), torch.zeros(1, 1, 8)).item()

    assert value(1e-4) == pytest.approx(1e-8, rel=0.01)  # a e^2 / 2
    assert value(1e4) == pytest.approx(1e4, rel=0.01)


@pytest.mark.parametrize("sizes", [{}, SMALL_STFT], ids=["defaults", "small"])
def test_multi_resolution_stft_equals_auraloss_for_each_item(sizes):
    prediction, target = signals(3, time=3000)
    reference = auraloss.freq.MultiResolutionSTFTLoss(**sizes)
    expected = torch.stack([reference(p[None], t[None]) for p, t in zip(prediction, target, strict=True)])
    ours = MultiResolutionSTFT(**sizes, floor_db=-400)
    torch.testing.assert_close(ours(prediction, target), expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(ours.distance(prediction, target), expected, rtol=1e-9, atol=0)  # as on a GPU


def test_multi_resolution_stft_accepts_half_precision_predictions():
    prediction, target = signals(1, dtype=torch.float32)
    loss, rounded = LOSSES["mr_stft"], prediction.bfloat16()
    assert torch.equal(loss(rounded, target), loss(rounded.float(), target))


def test_multi_resolution_stft_rejects_short_signals_and_inconsistent_resolutions():
    with pytest.raises(ModelError, match="at least 1025 samples"):
        MultiResolutionSTFT()(*signals(1, time=1024))
    with pytest.raises(ConfigError, match="fft_sizes, hop_sizes and win_lengths"):
        MultiResolutionSTFT(fft_sizes=[64])
    with pytest.raises(ConfigError, match="at most as long"):
        MultiResolutionSTFT(fft_sizes=[64], hop_sizes=[16], win_lengths=[65])


@pytest.mark.parametrize("build", [lambda: ESR(pre_emphasis=1.5), lambda: LogCosh(a=0), lambda: WeightedLoss([])])
def test_settings_out_of_range_are_rejected(build):
    with pytest.raises(ConfigError):
        build()


def test_weighted_loss_is_the_weighted_sum_and_names_its_parts():
    prediction, target = signals(4)
    prediction.requires_grad_()
    loss = WeightedLoss([("l1", 0.5, L1()), ("pkg.mod:Mine", 2.0, MSE()), ("l1", 3.0, L1())])
    items, parts = loss(prediction, target)
    assert items.shape == (4,)
    total = items.mean()
    error = (prediction - target).detach()
    l1, mse = error.abs().mean(), error.square().mean()
    torch.testing.assert_close(total.detach(), 3.5 * l1 + 2 * mse)
    assert list(parts) == ["l1", "pkg.mod:Mine", "l1_2"]
    torch.testing.assert_close(parts["pkg.mod:Mine"], mse)
    assert not any(part.requires_grad for part in parts.values())
    (gradient,) = torch.autograd.grad(total, prediction)
    expected: Tensor = (3.5 * error.sign() + 2 * 2 * error) / error.numel()
    torch.testing.assert_close(gradient, expected)
