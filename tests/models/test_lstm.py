"""LSTM: the output of NablAFx 1.0 for its weights, that of the textbook for any settings, and the paper's sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from nablafx_core.controls import Control
from nablafx_core.errors import ModelError
from nablafx_models.lstm import LSTM
from reference.lstm import lstm as reference


def test_parity_with_nablafx():
    stored = torch.load(Path(__file__).parent / "parity" / "lstm_32.pt", weights_only=True)
    model = LSTM(residual=False, pre_roll=0).eval()
    model.load_state_dict(stored["state_dict"])
    with torch.no_grad():
        single = model(stored["x"])[0]
        double = model.double()(stored["x"].double())[0]
    assert (double - stored["y64"]).abs().max() < 1e-9
    allowed = max(1e-5, 2 * float((stored["y"] - stored["y64"]).abs().max()))
    assert (single - stored["y"]).abs().max() < allowed


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("direct_path", [False, True])
@pytest.mark.parametrize("knobs", [0, 2])
def test_output_equals_that_of_the_textbook(residual, direct_path, knobs):
    torch.manual_seed(1)
    model = LSTM(
        hidden_size=5,
        residual=residual,
        direct_path=direct_path,
        conditioning="concatenated" if knobs else "none",
        pre_roll=0,
        controls=[Control(f"knob {n}") for n in range(knobs)],
    ).double()
    audio, controls = torch.rand(1, 1, 40).double() - 0.5, torch.rand(1, 2, 40).double()
    with torch.no_grad():
        out = model(audio, controls if knobs else None)[0]
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    expected = reference(weights, audio[0, 0].numpy(), controls[0].numpy() if knobs else None, residual=residual)
    np.testing.assert_allclose(out[0, 0].numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("knobs", [0, 2])
def test_the_pre_roll_equals_silence_before_the_file(knobs):
    settings = {"hidden_size": 5, "conditioning": "concatenated" if knobs else "none"}
    settings["controls"] = [Control(f"knob {n}") for n in range(knobs)]
    rolled, plain = LSTM(pre_roll=300, **settings), LSTM(pre_roll=0, **settings)
    plain.load_state_dict(rolled.state_dict())
    audio, controls = torch.rand(3, 1, 40) - 0.5, torch.rand(3, 2) if knobs else None
    with torch.no_grad():
        expected = plain(torch.nn.functional.pad(audio, (300, 0)), controls)[0][..., 300:]
        torch.testing.assert_close(rolled(audio, controls)[0], expected, atol=1e-6, rtol=0)
        assert (plain(audio, controls)[0] - expected).abs().max() > 1e-4


@pytest.mark.parametrize(("hidden", "knobs", "count"), [(32, 0, 4513), (96, 0, 38113), (32, 1, 4641), (96, 1, 38497)])
def test_sizes_equal_those_of_the_paper(hidden, knobs, count):
    controls = [Control("drive")] * knobs
    model = LSTM(hidden_size=hidden, conditioning="concatenated" if knobs else "none", controls=controls)
    assert sum(p.numel() for p in model.parameters()) == count
    assert model.receptive_field is None


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"conditioning": "concatenated"}, ["conditioning 'concatenated'", "controls"]),
        ({"controls": [Control("drive")]}, ["conditioning 'none'", "1 controls"]),
        ({"conditioning": "film", "controls": [Control("drive")]}, ["'film'", "none, concatenated, tv_concatenated"]),
    ],
)
def test_a_conditioning_that_does_not_fit_is_rejected(settings, named):
    with pytest.raises(ModelError) as error:
        LSTM(**settings)
    assert [word for word in named if word not in str(error.value)] == []


@pytest.mark.parametrize("settings", [{}, {"num_layers": 2, "direct_path": True}])
def test_gradients_equal_those_of_torch(monkeypatch, settings):
    torch.manual_seed(0)
    model = LSTM(hidden_size=24, pre_roll=50, **settings)
    dry, wet = torch.rand(2, 4, 1, 500) - 0.5
    grads = []
    for kernels in ("auto", "torch"):
        monkeypatch.setenv("NABLAFX_KERNELS", kernels)
        model.zero_grad()
        nn.functional.mse_loss(model(dry)[0], wet).backward()
        grads.append([p.grad.clone() for p in model.parameters()])
    for ours, expected in zip(*grads, strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-6, rtol=1e-5)
