"""Trained nonlinearities and responses: keys, parameter counts and values of NablAFx, and initial functions."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nablafx_core.errors import ModelError
from nablafx_core.graybox import GrayBox
from nablafx_core.profiling import count_macs
from nablafx_core.testing import laws, laws_gradients, laws_saving
from nablafx_dsp.nn.siren import Siren
from nablafx_dsp.pretraining.fitting import fit
from nablafx_dsp.processors.memoryless import Gain
from nablafx_dsp.processors.state_variable import StateVariable
from nablafx_dsp.processors.static_fir import StaticFIR
from nablafx_dsp.processors.static_mlp import StaticMLP
from nablafx_dsp.processors.static_rational import StaticRational

PARITY = Path(__file__).parent / "parity" / "static_rational.pt"


def keys(layers):
    return [f"net.{part}.{kind}" for part in (*layers, "last_layer") for kind in ("weight", "bias")]


def test_keys_and_parameter_counts_are_those_of_nablafx():
    mlp, filter_, rational = StaticMLP(), StaticFIR(), StaticRational()
    assert list(mlp.state_dict()) == keys([f"layers.{i}" for i in range(3)])
    assert list(filter_.state_dict()) == ["coords", *keys([f"layers.{i}" for i in range(5)])]
    assert filter_.coords.shape == (1, 1, 64)
    assert list(rational.state_dict()) == ["net.numerator", "net.denominator"]
    # GB-DIST has 47 parameters with the rational nonlinearity, 2,244 with the MLP, 6,565 with the response as well.
    counts = [sum(p.numel() for p in part.parameters()) for part in (rational, mlp, filter_)]
    assert counts == [12, 2244 - 47 + 12, 6565 - 2244]
    assert [count_macs(part) for part in (rational, mlp, filter_)] == [(0, ()), (2112, ()), (64, ())]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_chain_with_these_obeys_the_laws(dtype):
    def chain():
        torch.manual_seed(0)
        return GrayBox(
            [
                {"name": "gain", "controller": "static", "min_gain_db": -20, "max_gain_db": 0},
                {"name": "static_mlp"},
                {"name": "svf", "mode": "mix", "controller": "static"},
                {"name": "static_fir"},
                {"name": "static_rational", "lr_multiplier": 0.5},
            ]
        )

    model = chain()
    assert [part.lr_multiplier for part in model.processors] == [1.0, 0.01, 1.0, 0.01, 0.5]
    laws.stream_equals_offline(model, [1, 200, 63, 64, 7], dtype=dtype)
    laws.items_are_independent(model)
    laws_gradients.gradients_are_right(model)
    laws_saving.saves_what_it_loads(model, chain)


@pytest.mark.parametrize(
    "make",
    [
        lambda: StateVariable(mode="mix"),
        lambda: StateVariable(mode="notch", curves="linear"),
        lambda: Gain(interpolated=True),
        lambda: StaticMLP(hidden_size=8, num_layers=2, pretrained="none"),
        lambda: StaticFIR(num_taps=300, pretrained="none"),
        lambda: StaticRational(degrees=(3, 2), function="silu"),
    ],
)
def test_other_settings_than_the_examples_obey_the_laws(make):
    torch.manual_seed(0)
    subject = make()
    laws.no_look_ahead(subject)
    laws.silence_gives_no_nan(subject)
    laws.items_are_independent(subject)
    laws.stream_equals_offline(subject, [100, 1, 300, 7], dtype=torch.float32)
    laws_gradients.every_control_moves_output(subject)
    laws_gradients.every_parameter_moves_output(subject)
    laws_gradients.gradients_are_right(subject)
    laws_gradients.gradients_are_finite(subject)
    laws_saving.saves_what_it_loads(subject, make)


def test_a_network_of_sines_is_its_formula():
    torch.manual_seed(0)
    net = Siren(4, 2, 7.0).double()
    x = torch.linspace(-1, 1, 9, dtype=torch.float64)
    (w1, b1), (w2, b2), (w3, b3) = ((layer.weight, layer.bias) for layer in (*net.layers, net.last_layer))
    expected = [w3 @ torch.sin(w2 @ torch.sin(7 * (w1[:, 0] * value + b1)) + b2) + b3 for value in x]
    torch.testing.assert_close(net(x), torch.cat(expected))


def test_the_rational_function_is_nablafxs():
    stored = torch.load(PARITY, weights_only=True)
    processor = StaticRational()
    processor.load_state_dict(stored["state_dict"])
    single = processor(stored["x"], {})[0]
    torch.testing.assert_close(single, stored["y_eval_noclamp64"].float(), rtol=0, atol=1e-6)
    double = processor.double()(stored["x"].double(), {})[0]
    torch.testing.assert_close(double, stored["y_eval_noclamp64"], rtol=0, atol=1e-12)


def test_initial_functions():
    x = torch.linspace(-4, 4, 10_001)[None, None]
    torch.testing.assert_close(StaticMLP()(x, {})[0], x.tanh(), rtol=0, atol=1e-3)
    inner = x[..., 2000:-2000]
    torch.testing.assert_close(StaticRational()(inner, {})[0], inner.tanh(), rtol=0, atol=1e-5)
    torch.testing.assert_close(StaticFIR().taps(), torch.eye(64)[0], rtol=0, atol=5e-4)


def test_a_response_is_that_of_its_network():
    processor = StaticFIR(num_taps=5, hidden_size=3, num_layers=2, w0=4.0, pretrained="none").double()
    response = torch.stack([processor.net(torch.tensor([-1 + k / 2], dtype=torch.float64))[0] for k in range(5)])
    impulse = torch.zeros(1, 1, 8, dtype=torch.float64)
    impulse[..., 2] = 1
    expected = torch.cat([response.new_zeros(2), response, response.new_zeros(1)])
    torch.testing.assert_close(processor(impulse, {})[0][0, 0], expected)


def test_a_processor_starts_with_the_weights_of_a_fit(tmp_path):
    from safetensors.torch import save_file

    torch.manual_seed(0)
    net, x = Siren(8, 2, 1.0), torch.linspace(-1, 1, 50)
    assert fit(net, x, x.clamp(-0.5, 0.5), steps=200) < 0.05
    save_file(net.state_dict(), tmp_path / "clip.safetensors")
    processor = StaticMLP(hidden_size=8, num_layers=2, w0=1.0, pretrained=str(tmp_path / "clip.safetensors"))
    torch.testing.assert_close(processor(x[None, None], {})[0][0, 0], x.clamp(-0.5, 0.5), rtol=0, atol=0.05)


def test_missing_and_unsuitable_weights_are_refused():
    with pytest.raises(ModelError, match="'sine' .* cabinet, impulse, tanh"):
        StaticMLP(pretrained="sine")
    with pytest.raises(ModelError, match="of another size"):
        StaticMLP(hidden_size=16)
    with pytest.raises(ModelError, match="of another size"):
        StaticFIR(num_layers=3)
