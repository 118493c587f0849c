"""Pretrained processors of NablAFx 1.0 work with `pretrained` and `import`, and compute the same functions."""

from __future__ import annotations

import re

import pytest
import torch
from click.testing import CliRunner
from torch.nn import functional as F

import nablafx_core as nfx
from nablafx_core.cli import cli
from nablafx_core.errors import ConversionError, ModelError


def siren(weights, values, w0):
    """Evaluate the network as NablAFx defines it, in float64."""
    hidden = values.double()[:, None]
    for n in range(sum(key.startswith("net.layers") and key.endswith("weight") for key in weights)):
        z = F.linear(hidden, *(weights[f"net.layers.{n}.{part}"].double() for part in ("weight", "bias")))
        hidden = torch.sin(w0 * z if n == 0 else z)
    return F.linear(hidden, *(weights[f"net.last_layer.{part}"].double() for part in ("weight", "bias")))[:, 0]


def weights_of(hidden, layers, taps=None):
    random = torch.Generator().manual_seed(hidden)
    shapes = {f"net.layers.{n}": (hidden, 1 if n == 0 else hidden) for n in range(layers)}
    found = {} if taps is None else {"coords": torch.linspace(-1, 1, taps).view(1, 1, -1)}
    for name, (outputs, inputs) in (shapes | {"net.last_layer": (1, hidden)}).items():
        found[f"{name}.weight"] = torch.rand(outputs, inputs, generator=random) - 0.5
        found[f"{name}.bias"] = torch.rand(outputs, generator=random) - 0.5
    return found


@pytest.fixture
def mlp(tmp_path):
    path = tmp_path / "static_mlp_nonlinearity_h8-l2.pt"
    torch.save(weights_of(8, 2), path)
    return path


@pytest.fixture
def fir(tmp_path):
    path = tmp_path / "static_fir_filter_t48-h6-l4.pt"
    torch.save(weights_of(6, 4, taps=48), path)
    return path


def expected(path, audio):
    weights = torch.load(path, weights_only=True)
    if "coords" not in weights:
        return siren(weights, audio[0, 0], 30.0)[None, None]
    taps = siren(weights, weights["coords"][0, 0], 1000.0)
    return F.conv1d(F.pad(audio.double(), (len(taps) - 1, 0)), taps.flip(0)[None, None])


AUDIO = torch.randn(1, 1, 500, generator=torch.Generator().manual_seed(0)) * 0.5


@pytest.mark.parametrize(("file", "tolerance"), [("mlp", 1e-5), ("fir", 1e-3)])
def test_import_and_pretrained_give_the_original_function(file, tolerance, request, tmp_path):
    """w0 multiplies the inputs of an FIR filter's network by 1,000, so that float32 rounds them by up to 6e-5."""
    path = request.getfixturevalue(file)
    done = CliRunner().invoke(cli, ["import", str(path), "-o", str(tmp_path / "one.nfx")])
    assert done.exit_code == 0, done.output
    model = nfx.load(tmp_path / "one.nfx")
    torch.testing.assert_close(model(AUDIO)[0].double(), expected(path, AUDIO), atol=tolerance, rtol=0)
    section = model.section["processors"][0] | {"pretrained": str(path)}
    begun = nfx.build("processor", section, sample_rate=48000)
    assert torch.equal(begun(AUDIO, {})[0], model(AUDIO)[0])


def test_another_size_is_named(mlp, fir):
    with pytest.raises(ModelError, match="another size: hidden_size 8, num_layers 2"):
        nfx.build("processor", {"name": "static_mlp", "pretrained": str(mlp)})
    sizes = {"name": "static_fir", "hidden_size": 6, "num_layers": 4, "pretrained": str(fir)}
    with pytest.raises(ModelError, match="num_taps 48, .* 64"):
        nfx.build("processor", sizes)


def test_another_w0_can_be_given(mlp):
    weights = torch.load(mlp, weights_only=True)
    model = nfx.import_model(mlp, w0=5.0)
    values = siren(weights, AUDIO[0, 0], 5.0)
    torch.testing.assert_close(model(AUDIO)[0][0, 0].double(), values, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"lstm.weight": torch.zeros(2)}, "lstm.weight"),
        ({"net.numerator": torch.zeros(2)}, "has no sine layers"),
        ({"net.layers.0.weight": torch.zeros(4, 1), "net.odd": torch.zeros(1)}, "static_mlp"),
        ({"net.layers.0.weight": torch.zeros(4, 3)}, "static_mlp"),
        ({"net.layers.0.weight": torch.zeros(4, 1), "coords": torch.tensor(0.0)}, "static_fir"),
    ],
)
def test_other_files_are_refused(weights, message, tmp_path):
    torch.save(weights, tmp_path / "x.pt")
    with pytest.raises(ConversionError, match=re.escape(str(tmp_path / "x.pt")) + f".*{message}"):
        nfx.import_model(tmp_path / "x.pt", "nablafx_pretrained")
