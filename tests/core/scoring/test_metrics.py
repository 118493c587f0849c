"""Metrics are additive, independent of batching, never NaN for silence, and equal to numpy and auraloss."""

from __future__ import annotations

import math

import auraloss
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nablafx_core.scoring import metrics as module
from nablafx_core.scoring.metrics import DC, ESR, MAE, MAPE, MSE, CosineSimilarity, LogCosh, MultiResolutionSTFT

SMALL_STFT = {"fft_sizes": [64, 128], "hop_sizes": [16, 25], "win_lengths": [40, 128]}
METRICS = {
    "mae": MAE(),
    "mse": MSE(),
    "mape": MAPE(),
    "esr": ESR(),
    "dc": DC(),
    "log_cosh": LogCosh(),
    "cosine_similarity": CosineSimilarity(),
    "mr_stft": MultiResolutionSTFT(**SMALL_STFT),
}
every_metric = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS.keys())


def signals(batch: int, time: int = 600, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.randn(batch, 1, time, generator=generator, dtype=torch.float64) * 0.3
    return target + 0.05 * torch.randn(batch, 1, time, generator=generator, dtype=torch.float64) + 0.01, target


@every_metric
@settings(derandomize=True, deadline=None, max_examples=10)
@given(seed=st.integers(0, 1000), gain=st.floats(1e-3, 1e3))
def test_a_batch_of_two_equals_two_batches_of_one(metric, seed, gain):
    prediction, target = signals(2, seed=seed)
    prediction[1] *= gain
    together = metric.statistics(prediction, target)
    alone = torch.cat([metric.statistics(prediction[i : i + 1], target[i : i + 1]) for i in range(2)])
    assert together.dtype == torch.float64
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-12)


@every_metric
@pytest.mark.parametrize("silent", ["both", "target", "prediction"])
def test_silence_does_not_give_nan(metric, silent):
    prediction, target = signals(1)
    zero = torch.zeros_like(target)
    pair = (zero if silent != "target" else prediction, zero if silent != "prediction" else target)
    value = metric.value(metric.statistics(*pair)[0])
    assert math.isfinite(value)
    if silent == "both":
        assert value == (0 if metric.lower_is_better else 1)
    elif isinstance(metric, CosineSimilarity):
        assert value == 0


def test_metrics_of_a_split_equal_numpy_over_all_its_samples():
    prediction, target = signals(3)
    p, t = prediction.numpy().ravel(), target.numpy().ravel()
    e = p - t
    expected = {
        "mae": np.abs(e).mean(),
        "mse": (e**2).mean(),
        "mape": (np.abs(e) / np.abs(t)).mean(),
        "esr": (e**2).sum() / (t**2).sum(),
        "dc": (e.reshape(3, -1).mean(1) ** 2).sum() * 600 / (t**2).sum(),
        "log_cosh": np.log(np.cosh(e)).mean(),
        "cosine_similarity": p @ t / np.sqrt((p @ p) * (t @ t)),
    }
    for name, value in expected.items():
        sums = METRICS[name].statistics(prediction, target).sum(dim=0)
        assert METRICS[name].value(sums) == pytest.approx(value, rel=1e-9), name


def test_dc_and_mr_stft_of_one_item_equal_auraloss():
    prediction, target = signals(1, time=3000)
    pairs = [
        (DC(), auraloss.time.DCLoss(eps=0)),
        (MultiResolutionSTFT(), auraloss.freq.MultiResolutionSTFTLoss()),
    ]
    for metric, reference in pairs:
        value = metric.value(metric.statistics(prediction, target)[0])
        assert value == pytest.approx(reference(prediction, target).item(), rel=1e-9)


@every_metric
def test_statistics_of_a_long_signal_are_the_sum_over_its_pieces(metric, monkeypatch):
    monkeypatch.setattr(module, "PIECE", 250)
    prediction, target = signals(1)
    pieces = zip(prediction.split(250, dim=-1), target.split(250, dim=-1), strict=True)
    added = sum(metric.statistics(*piece) for piece in pieces)
    torch.testing.assert_close(metric.statistics(prediction, target), added, rtol=1e-9, atol=1e-12)


def test_mr_stft_weights_pieces_by_length_and_accepts_short_ones(monkeypatch):
    monkeypatch.setattr(module, "PIECE", 550)
    prediction, target = signals(1)
    metric = METRICS["mr_stft"]
    head, tail = (
        metric.distance(*(torch.nn.functional.pad(audio[..., part], (0, silence)) for audio in (prediction, target)))
        for part, silence in ((slice(0, 550), 0), (slice(550, 600), 15))
    )
    value = metric.value(metric.statistics(prediction, target)[0])
    assert value == pytest.approx(((550 * head + 50 * tail) / 600).item(), rel=1e-9)
