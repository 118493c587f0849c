"""``nablafx pretrain``: processors start with the fitted weights, and a refused fit writes no file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner

from nablafx_core import build
from nablafx_core.bundles.bundle import load_bundle, save_bundle
from nablafx_core.errors import ConfigError, DataError, ModelError, NablafxError
from nablafx_dsp.circuits.diode_clipper import DiodeClipper
from nablafx_dsp.pretraining.command import pretrain
from nablafx_dsp.pretraining.targets import CURVES, RESPONSES, read_response, read_table
from nablafx_dsp.processors.static_fir import StaticFIR
from nablafx_dsp.processors.static_mlp import StaticMLP
from nablafx_dsp.processors.static_rational import StaticRational

pytestmark = pytest.mark.slow

SMALL_MLP = {"hidden_size": 8, "num_layers": 2, "w0": 1.0}
SMALL_FIR = {"hidden_size": 16, "num_layers": 2, "w0": 50.0, "num_taps": 12}


def pretrained(folder, processor, target, steps=300, **settings):
    """Run the command; return the file that it writes and the error that it prints."""
    path = folder / "weights.safetensors"
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    arguments = [processor, str(target), "-o", str(path), "--steps", str(steps), *sets]
    result = CliRunner().invoke(pretrain, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert sorted(one.name for one in folder.iterdir() if one.suffix not in (".csv", ".wav")) == [
        "weights.png",
        "weights.safetensors",
    ]
    assert (folder / "weights.png").read_bytes().startswith(b"\x89PNG")
    return str(path), float(result.stdout.rpartition("largest error ")[2])


def through(processor, x):
    with torch.no_grad():
        return processor(x.float()[None, None], {})[0][0, 0].double()


def test_a_chain_starts_with_fitted_weights(tmp_path):
    path, said = pretrained(tmp_path, "static_mlp", "soft_clip", **SMALL_MLP)
    x = torch.linspace(-4, 4, 4010, dtype=torch.float64)
    error = (through(StaticMLP(pretrained=path, **SMALL_MLP), x) - CURVES["soft_clip"](x)).abs().max()
    assert error < 0.02
    assert said == pytest.approx(float(error), rel=0.1)


def test_a_bundle_does_not_need_the_pretrained_file(tmp_path):
    folder = tmp_path / "fit"
    folder.mkdir()
    path, _ = pretrained(folder, "static_mlp", "hard_clip", 20, **SMALL_MLP)
    model = build("model", {"name": "graybox", "processors": [{"name": "static_mlp", "pretrained": path, **SMALL_MLP}]})
    with torch.no_grad():
        model.processors[0].net.last_layer.bias += 0.1  # like a step of training
    save_bundle(model, tmp_path / "clip.nfx")
    Path(path).unlink()
    audio = torch.linspace(-1, 1, 64)[None, None]
    with torch.no_grad():
        torch.testing.assert_close(load_bundle(tmp_path / "clip.nfx")(audio)[0], model(audio)[0])


def test_more_steps_fit_closer(tmp_path):
    errors = [pretrained(tmp_path, "static_mlp", "tanh", steps, **SMALL_MLP)[1] for steps in (5, 50, 400)]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


@pytest.mark.parametrize("curve", ["arctan", "asymmetric_tanh"])
def test_a_rational_function_is_fitted(tmp_path, curve):
    path, said = pretrained(tmp_path, "static_rational", curve)
    x = torch.linspace(-4, 4, 501, dtype=torch.float64)
    error = (through(StaticRational(pretrained=path), x) - CURVES[curve](x)).abs().max()
    assert error < 0.02
    assert error <= 1.1 * said


def test_a_measured_table_is_fitted_on_its_range(tmp_path):
    inputs = np.random.default_rng(0).permutation(np.linspace(-0.7, 2.0, 60))
    table = tmp_path / "table.csv"
    rows = [f"{value},{np.tanh(2 * value)}" for value in inputs]
    table.write_text("\n".join(["input,output", *rows]))
    path, said = pretrained(tmp_path, "static_rational", table)
    fitted = through(StaticRational(pretrained=path), torch.from_numpy(inputs)).numpy()
    np.testing.assert_allclose(fitted, np.tanh(2 * inputs), atol=1.1 * said)
    assert said < 5e-3


def test_an_impulse_response_is_fitted(tmp_path):
    response = np.exp(-np.arange(12) / 3) * np.cos(np.arange(12))
    soundfile.write(tmp_path / "cab.wav", response, 48000, subtype="FLOAT")
    path, said = pretrained(tmp_path, "static_fir", tmp_path / "cab.wav", **SMALL_FIR)
    fitted = StaticFIR(pretrained=path, **SMALL_FIR)
    with torch.no_grad():
        np.testing.assert_allclose(fitted.taps(), response, atol=max(1.1 * said, 1e-6))
    assert said < 1e-3
    with pytest.raises(ModelError, match="num_taps 12, .* 24"):
        StaticFIR(pretrained=path, **{**SMALL_FIR, "num_taps": 24})
    with pytest.raises(ModelError, match="w0 50.0, .* 60.0"):
        StaticFIR(pretrained=path, **{**SMALL_FIR, "w0": 60.0})


def test_a_response_is_resampled_and_its_cut_energy_noted(tmp_path):
    time = np.arange(2000)
    response = np.exp(-time / 60) * np.sin(2 * np.pi * 1000 * time / 48000)
    soundfile.write(tmp_path / "cab.wav", response, 48000, subtype="FLOAT")
    taps, lost = read_response(tmp_path / "cab.wav", 1024, 24000)

    def at(hz, h, rate):
        return abs(h @ np.exp(-2j * np.pi * hz * np.arange(len(h)) / rate))

    for hz in (300, 1000, 3000):
        assert at(hz, taps.numpy(), 24000) == pytest.approx(at(hz, response, 48000), rel=1e-2)
    assert lost < 1e-6
    assert read_response(tmp_path / "cab.wav", 60, 48000)[1] == pytest.approx(np.exp(-2), rel=0.1)
    assert read_response(tmp_path / "cab.wav", 3000, 48000)[0][2000:].abs().max() == 0


@pytest.mark.parametrize("hidden_size", [32, 64])
def test_shipped_tanh_by_size(hidden_size):
    x = torch.linspace(-4, 4, 10_001, dtype=torch.float64)
    fitted = StaticMLP(hidden_size=hidden_size, pretrained="tanh")
    torch.testing.assert_close(through(fitted, x), x.tanh(), rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", ["impulse", "cabinet"])
def test_shipped_responses(name):
    fitted = StaticFIR(pretrained=name)
    with torch.no_grad():
        torch.testing.assert_close(fitted.taps().double(), RESPONSES[name](64, 48000), rtol=0, atol=2e-4)


def test_the_cabinet_is_its_formula():
    t = np.arange(64) / 48000
    rung = sum(
        a * np.exp(-t / tau) * np.sin(2 * np.pi * f * t)
        for f, tau, a in ((900, 3e-4, 1), (2200, 2.5e-4, 0.6), (3600, 2e-4, 0.5))
    )
    pole, last, response = np.exp(-2 * np.pi * 5000 / 48000), 0.0, []
    for value in rung:
        last = pole * last + (1 - pole) * value
        response.append(last)
    magnitudes = np.abs(np.fft.rfft(response, 1 << 16))
    np.testing.assert_allclose(RESPONSES["cabinet"](64, 48000), response / magnitudes.max(), atol=1e-12)
    assert magnitudes[int(12000 / 48000 * (1 << 16))] < 0.1 * magnitudes.max()  # little energy there


def test_the_diode_curve_is_the_circuit_at_rest():
    volts = np.array([-3.0, -0.2, 0.05, 0.6, 4.0])
    circuit = DiodeClipper()
    settled = [circuit.clip(np.full(4000, v), 48000)[-1] for v in volts]
    np.testing.assert_allclose(CURVES["diode"](torch.from_numpy(volts)), settled, atol=1e-9)


@pytest.mark.parametrize("name", sorted(CURVES))
def test_curves_pass_through_zero_without_a_jump(name):
    x = torch.linspace(-4, 4, 80_001, dtype=torch.float64)
    y = CURVES[name](x)
    assert abs(float(y[40_000])) < 1e-12
    assert y.diff().abs().max() < 2e-4
    assert y.abs().max() < 2.1


BAD_TABLES = {
    "words": ("input,output\n0,0\n1,one\n2,2\n3,3\n", "words.csv:3: '1,one'"),
    "three": ("0,0,0\n1,1,1\n", "three.csv:1: '0,0,0'"),
    "few": ("0,0\n1,1\n", "few.csv: has 2 points"),
    "twice": ("0,0\n1,1\n0,2\n3,3\n", "twice.csv:3: the input 0"),
    "infinite": ("0,0\n1,inf\n", "infinite.csv:2: '1,inf'"),
    "binary": (b"\xff\xfe\x00\x80", r"binary.csv: cannot be read as CSV"),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_bad_tables_are_refused_with_their_line(tmp_path, name):
    content, message = BAD_TABLES[name]
    path = tmp_path / f"{name}.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message):
        read_table(path)
    with pytest.raises(DataError, match="missing.csv: cannot be read"):
        read_table(tmp_path / "missing.csv")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["static_mlp", "sine"], ConfigError, "curve 'sine'.* tanh, hard_clip"),
        (["static_mlp", "cabinet"], ConfigError, "curve 'cabinet'"),
        (["static_fir", "tanh"], ConfigError, "response 'tanh'.* impulse, cabinet"),
        (["static_fir", "missing.wav"], DataError, "missing.wav: there is no such file"),
        (["static_fir", "noise.wav"], DataError, "noise.wav"),
        (["static_fir", "silence.wav"], DataError, "silence.wav: is silent"),
        (["static_fir", "late.wav"], DataError, "the first 64 samples at 48000 Hz are silent"),
        (["static_fir", "stereo.wav"], DataError, "stereo.wav: has 2 channels"),
        (["gain", "tanh"], ConfigError, "processor 'gain'"),
        (["static_mlp", "tanh", "--set", "pretrained=tanh"], ConfigError, "--set takes"),
        (["static_mlp", "tanh", "--set", "units=3"], ConfigError, "no setting 'units'"),
        (
            ["static_mlp", "tanh", "-o", "nowhere/w.safetensors"],
            DataError,
            "nowhere/w.safetensors: there is no folder nowhere",
        ),
    ],
)
def test_a_refused_fit_writes_no_file(tmp_path, monkeypatch, arguments, error, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "noise.wav").write_bytes(b"RIFF" + bytes(range(200)))
    soundfile.write(tmp_path / "silence.wav", np.zeros(100), 48000)
    soundfile.write(tmp_path / "late.wav", np.eye(1, 100, 70)[0], 48000)
    soundfile.write(tmp_path / "stereo.wav", np.ones((100, 2)), 48000)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(error, match=message):
        CliRunner().invoke(pretrain, ["-o", "w.safetensors", *arguments], catch_exceptions=False)
    assert sorted(tmp_path.iterdir()) == before


def test_an_output_without_the_extension_is_refused():
    result = CliRunner().invoke(pretrain, ["static_mlp", "tanh", "-o", "w.pt"])
    assert result.exit_code == 2
    assert "--output" in result.output


def test_a_full_disk_keeps_the_old_weights(tmp_path, monkeypatch):
    path, _ = pretrained(tmp_path, "static_mlp", "tanh", steps=5, **SMALL_MLP)
    before = Path(path).read_bytes()

    def full(weights, file, metadata):
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(NablafxError, match="weights.safetensors: cannot be written"):
        pretrained(tmp_path, "static_mlp", "soft_clip", steps=5, **SMALL_MLP)
    assert Path(path).read_bytes() == before
    assert not list(tmp_path.glob(".*"))


def test_a_file_without_weights_is_refused(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="cannot be read as weights"):
        StaticMLP(pretrained=str(tmp_path / "w.safetensors"))
