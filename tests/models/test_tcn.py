"""TCN: NablAFx 1.0's output for its weights, the textbook's output for any settings, and the paper's sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nablafx_core.controls import Control
from nablafx_core.errors import ModelError
from nablafx_core.state import joined, scoped
from nablafx_models.conditioning import table
from nablafx_models.conditioning.film import FiLM
from nablafx_models.conditioning.interface import Modulation
from nablafx_models.tcn import TCN
from reference.tcn import tcn as reference

KNOBS = (Control("drive"), Control("tone", 20, 20000, "Hz", "log"))
PAPER = {  # blocks, kernel, growth: receptive field, parameters, parameters with FiLM and one control
    (5, 7, 4): (2047, 7457, 14913),
    (10, 3, 2): (2047, 7297, 20033),
    (6, 11, 4): (13651, 14465, None),
    (11, 7, 2): (12283, 18401, None),
    (5, 13, 10): (133333, 13697, None),
    (10, 5, 3): (118097, 11937, None),
}


def scrambled(model: TCN) -> TCN:
    """Every weight and statistic away from its neutral value, so that each one counts."""
    generator = torch.Generator().manual_seed(5)
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            value.copy_(torch.randn(value.shape, generator=generator) * 0.3)
        if name.endswith("running_var"):
            value.abs_().add_(0.5)
    return model.double().eval()


@pytest.mark.parametrize("name", ["tcn_45_s_16", "tcn_noresidual"])
def test_parity_with_nablafx(name):
    stored = torch.load(Path(__file__).parent / "parity" / f"{name}.pt", weights_only=True)
    model = TCN(residual=name == "tcn_45_s_16", residual_delay=1).eval()
    model.load_state_dict(stored["state_dict"])
    with torch.no_grad():
        single = model(stored["x"])[0]
        double = model.double()(stored["x"].double())[0]
    assert (double - stored["y64"]).abs().max() < 1e-9
    allowed = max(1e-5, 2 * float((stored["y"] - stored["y64"]).abs().max()))
    assert (single - stored["y"]).abs().max() < allowed


@pytest.mark.parametrize("moving", [False, True])
@settings(max_examples=25)
@given(
    causal=st.booleans(),
    residual=st.booleans(),
    direct_path=st.booleans(),
    bias=st.booleans(),
    norm=st.sampled_from(["none", "batch"]),
    conditioning=st.sampled_from(["none", "film", "concatenated"]),
    channel_growth=st.sampled_from([1, 2]),
    shape=st.sampled_from([(3, 3, 2, 12), (2, 5, 3, 12), (4, 3, 3, 2), (1, 1, 1, 1)]),
    residual_delay=st.sampled_from([0, 1]),
)
def test_offline_is_the_padded_network(
    moving, causal, residual, direct_path, bias, norm, conditioning, channel_growth, shape, residual_delay
):
    blocks, kernel, growth, stack = shape
    delay = residual_delay if causal and kernel > 1 else 0
    model = scrambled(
        TCN(
            num_blocks=blocks,
            kernel_size=kernel,
            dilation_growth=growth,
            stack_size=stack,
            channel_width=6,
            channel_growth=channel_growth,
            causal=causal,
            residual=residual,
            direct_path=direct_path,
            bias=bias,
            norm=norm,
            conditioning=conditioning,
            residual_delay=delay,
            controls=() if conditioning == "none" else KNOBS,
        )
    )
    time = 70
    generator = torch.Generator().manual_seed(0)
    audio = torch.rand(2, 1, time, generator=generator, dtype=torch.float64) - 0.5
    controls = torch.rand(2, 2, time, generator=generator, dtype=torch.float64)
    if not moving:
        controls = controls[..., :1].expand(-1, -1, time)
    given_controls = None if conditioning == "none" else controls if moving else controls[..., 0]
    with torch.no_grad():
        out = model(audio, given_controls)[0]
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    for item in range(2):
        expected = reference(
            weights,
            audio[item, 0].numpy(),
            None if conditioning == "none" else controls[item].numpy(),
            dilations=[growth ** (n % stack) for n in range(blocks)],
            causal=causal,
            conditioning=conditioning,
            residual_delay=delay,
        )
        np.testing.assert_allclose(out[item, 0].numpy(), expected, atol=1e-12)


@pytest.mark.parametrize(("shape", "expected"), PAPER.items())
def test_sizes_are_the_papers(shape, expected):
    blocks, kernel, growth = shape
    receptive_field, plain, film = expected
    settings = {"num_blocks": blocks, "kernel_size": kernel, "dilation_growth": growth}
    model = TCN(**settings)
    assert model.receptive_field == receptive_field
    assert sum(p.numel() for p in model.parameters()) == plain
    if film:
        model = TCN(**settings, conditioning="film", norm="batch", controls=[Control("drive")])
        assert sum(p.numel() for p in model.parameters()) == film


def test_channels_grow_from_block_to_block():
    model = TCN(num_blocks=3, channel_growth=2, channel_width=99)
    assert [block.conv.out_channels for block in model.blocks] == [2, 4, 8]


def test_names_of_weights_are_those_of_old_checkpoints():
    model = TCN(num_blocks=1, conditioning="film", norm="batch", activation="prelu", direct_path=True, controls=KNOBS)
    layers = [f"cond_nn.layers.{n}.{w}" for n in (0, 2, 4) for w in ("weight", "bias")]
    block = ["conv.weight", "conv.bias", "film.adaptor.weight", "film.adaptor.bias", "act.weight", "res.weight"]
    norm = ["film.bn.running_mean", "film.bn.running_var", "film.bn.num_batches_tracked"]
    rest = ["output.weight", "output.bias", "direct_gain.weight"]
    assert set(model.state_dict()) == {*layers, *(f"blocks.0.{name}" for name in block + norm), *rest}
    plain = TCN(num_blocks=1, norm="batch")
    assert {name for name in plain.state_dict() if ".bn." in name} == {
        f"blocks.0.bn.{name}" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    }


def test_batch_norm_learns_from_the_block_alone():
    torch.manual_seed(0)
    model = TCN(num_blocks=2, kernel_size=3, norm="batch").train()
    audio = torch.rand(4, 1, 50) + 3
    model(audio)
    padded = torch.nn.functional.pad(audio, (2, 0))
    features = model.blocks[0].conv(padded)
    torch.testing.assert_close(model.blocks[0].bn.running_mean, 0.1 * features.mean((0, 2)))
    assert model.blocks[0].bn.num_batches_tracked == 1
    assert model.blocks[0].bn.training


class Smoothed(Modulation):
    """A modulation with memory: y[n] = (x[n] + y[n-1]) / 2, which starts at 1 in the pre-roll."""

    steady = False

    def __init__(self, channels):
        super().__init__()
        self.channels = channels

    def initial_state(self, batch_size):
        return {"last": torch.ones(batch_size, self.channels, dtype=torch.float64)}

    def forward(self, features, condition, state, final=False):
        last, out = state["last"], []
        for sample in features.unbind(-1):
            last = (sample + last) / 2
            out.append(last)
        return (torch.stack(out, -1) if out else features), {"last": last}


def test_a_modulation_with_memory_runs_over_the_pre_roll(monkeypatch):
    monkeypatch.setitem(
        table.CONDITIONINGS, "film", table.Conditioning(modulation=lambda channels, *_: Smoothed(channels))
    )
    model = scrambled(
        TCN(num_blocks=2, kernel_size=3, dilation_growth=2, channel_width=2, conditioning="film", controls=KNOBS)
    )
    audio = torch.rand(1, 1, 20, dtype=torch.float64)
    x = torch.nn.functional.pad(audio, (6, 0))
    for block in model.blocks:
        y, _ = block.film(block.conv(x), None, block.film.initial_state(1))
        y = torch.tanh(y)
        x = y + block.res(x)[..., -y.shape[-1] :]
    expected = torch.tanh(model.output(x))
    torch.testing.assert_close(model(audio)[0], expected)
    state = model.initial_state(1)
    assert set(scoped(state, "blocks.1")) == {"history", *joined({"film": {"last": None}})}
    first, state = model(audio[..., :7], None, state)
    second, _ = model(audio[..., 7:], None, state)
    torch.testing.assert_close(torch.cat((first, second), -1), expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"causal": False, "kernel_size": 4}, "kernel_size 4 has no middle"),
        ({"residual_delay": 7}, "residual_delay 7 must be from 0 to kernel_size - 1 = 6"),
        ({"causal": False, "residual_delay": 1}, "leave it 0 when `causal: false`"),
        ({"num_blocks": 0}, "must be at least 1"),
        ({"conditioning": "film"}, "conditioning 'film' needs controls"),
        ({"conditioning": "tfilm", "norm": "batch"}, "conditioning 'tfilm' has no batch normalisation"),
        ({"alignment": "end"}, "alignment: end belongs to"),
        ({"conditioning": "tvfilm", "alignment": "end", "lookahead": False}, "alignment: end belongs to"),
        ({"conditioning": "tvfilm", "cond_block_size": 0}, "block_size 0"),
        ({"activation": "rational", "rational_degrees": (3, -1)}, r"degrees .*\(3, -1\)"),
        ({"controls": KNOBS}, "would ignore the 2 controls of the data. Choose one of: film, tfilm, ttfilm, tvfilm, "),
        (
            {"conditioning": "filn", "controls": KNOBS},
            "no conditioning 'filn'. Conditionings: none, film, tfilm",
        ),
        ({"activation": "tan"}, "activation 'tan'. Activations: prelu, rational, tanh"),
    ],
)
def test_settings_that_exclude_each_other_are_refused(settings, message):
    with pytest.raises(ModelError, match=message):
        TCN(**settings)


def test_film_begins_near_the_identity():
    torch.manual_seed(0)
    features, condition = torch.randn(4, 16, 50), 0.2 * torch.randn(4, 32)
    change = FiLM(16, 32)(features, condition, {})[0] - features
    assert change.abs().mean() < 0.3 * features.abs().mean()
