"""The example pack's file format: a written file can be read, and every field is validated."""

from __future__ import annotations

import json
import random

import pytest
import torch

import nablafx_core as nfx
from nablafx_core.errors import ConversionError

pytestmark = pytest.mark.slow


def trained(controls=({"name": "tone", "maximum": 10.0, "unit": "%"}, {"name": "air", "default": 0.2})):
    model = nfx.build("model", {"name": "soft-tone"}, sample_rate=44100, controls=list(controls))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    return model.eval()


@pytest.mark.parametrize("controls", [(), ({"name": "tone", "minimum": -3.0, "maximum": 3.0},), None])
def test_the_same_model_comes_back(controls, tmp_path):
    model = trained() if controls is None else trained(controls)
    again = nfx.import_model(nfx.export_model(model, tmp_path / "a.softtone"))
    assert again.controls == model.controls and again.sample_rate == model.sample_rate and not again.training
    assert all(torch.equal(again.state_dict()[name], value) for name, value in model.state_dict().items())
    assert nfx.export_model(again, tmp_path / "b.softtone").read_bytes() == (tmp_path / "a.softtone").read_bytes()


def test_models_that_the_format_cannot_contain_are_refused(tmp_path):
    switch = trained(({"name": "mode", "positions": ["dark", "bright"]},))
    with pytest.raises(ConversionError, match="a .softtone file .*'mode'"):
        nfx.export_model(switch, tmp_path / "a.softtone")
    gray = nfx.build(
        "model", {"name": "graybox", "processors": [{"name": "tremolo", "fixed": {"rate_hz": 1.0, "depth": 0.5}}]}
    )
    with pytest.raises(ConversionError, match="a .softtone file .*GrayBox"):
        nfx.export_model(gray, tmp_path / "a.softtone")
    assert not list(tmp_path.iterdir())


KNOB = {"name": "k", "minimum": 0.0, "maximum": 1.0, "octaves": 0.0}
DAMAGE = {
    "version": ({"version": 2}, "version: Input should be 1"),
    "another format": ({"format": "nam"}, "format: Input should be 'soft-tone'"),
    "rate": ({"sample_rate": 0}, "sample_rate: Input should be greater than or equal to 1000"),
    "rate as text": ({"sample_rate": "44100"}, "sample_rate: Input should be a valid integer"),
    "cutoff": ({"cutoff_hz": -1.0}, "cutoff_hz: Input should be greater than 0"),
    "not a number": ({"drive": float("nan")}, "drive: Input should be"),
    "no knobs": ({"knobs": None}, "knobs: Input should be a valid array"),
    "too many": (
        {"knobs": [{"name": "k", "minimum": 0.0, "maximum": 1.0, "octaves": 0.0}] * 33},
        "knobs: .*at most 32",
    ),
    "half a knob": ({"knobs": [{"name": "tone"}]}, "knobs.0.minimum: Field required"),
    "range": ({"knobs": [KNOB | {"minimum": 2.0}]}, "is not a range"),
    "unknown": ({"resonance": 1.0}, "resonance: Extra inputs are not permitted"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_each_field_is_checked(what, tmp_path):
    path = nfx.export_model(trained(), tmp_path / "a.softtone")
    change, told = DAMAGE[what]
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ConversionError, match=f"a.softtone: .*{told}"):
        nfx.import_model(path)


def test_files_of_other_formats_are_refused(tmp_path):
    path = tmp_path / "a.softtone"
    for content, told in ((b"", "Invalid JSON"), (b"[" * 100_000, "Invalid JSON"), (b" " * 2**21, "1,048,576")):
        path.write_bytes(content)
        with pytest.raises(ConversionError, match=told):
            nfx.import_model(path)
    (tmp_path / "folder.softtone").mkdir()
    with pytest.raises(ConversionError, match="folder.softtone: cannot be read"):
        nfx.import_model(tmp_path / "folder.softtone")


def test_damage_anywhere_is_refused_or_harmless(tmp_path):
    """Randomly changed bytes give a model or a ConversionError, nothing else."""
    path, chance = nfx.export_model(trained(), tmp_path / "a.softtone"), random.Random(0)
    whole, refused = path.read_bytes(), 0
    for _ in range(500):
        data = bytearray(whole)
        for _ in range(chance.choice((1, 1, 3))):
            data[chance.randrange(len(data))] = chance.choice(b'\x00\xff9-eE."{}[],')
        path.write_bytes(data)
        try:
            nfx.import_model(path)(torch.zeros(1, 1, 8))
        except ConversionError:
            refused += 1
    assert refused > 100
