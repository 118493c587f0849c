"""Impulse responses from files: reading, resampling, saving, and the laws."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch
from scipy import signal

from nablafx_core.bundles.bundle import load_bundle, save_bundle
from nablafx_core.config import load_experiment
from nablafx_core.errors import ConfigError, DataError, ModelError
from nablafx_core.graybox import GrayBox
from nablafx_core.registry.building import build
from nablafx_core.testing import laws, laws_gradients, laws_saving, laws_shape
from nablafx_dsp.processors.cabinet import Cabinet


def ringing(count, rate=48_000, seed=0):
    """Return a decaying response with little energy above 8 kHz."""
    noise = np.random.default_rng(seed).standard_normal(count) * np.exp(-np.arange(count) / (0.004 * rate))
    return (0.3 * signal.lfilter(*signal.butter(6, 8_000, fs=rate), noise)).astype(np.float32)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "cab.wav"
    soundfile.write(path, ringing(700), 48_000, subtype="FLOAT")
    return path


@pytest.mark.parametrize("num_taps", [1, 200, 700, 1000])
@pytest.mark.parametrize("trainable", [False, True])
def test_it_obeys_the_laws(file, num_taps, trainable):
    def make():
        return Cabinet(path=str(file), num_taps=num_taps, trainable=trainable)

    subject = make()
    for dtype in (torch.float64, torch.float32):
        laws.stream_equals_offline(subject, [1, 300, 64, 256, 511, 7], dtype=dtype)
    laws.items_are_independent(subject)
    laws.no_look_ahead(subject)
    laws.silence_gives_no_nan(subject)
    laws_gradients.every_parameter_moves_output(subject)
    laws_gradients.gradients_are_right(subject)
    laws_saving.saves_what_it_loads(subject, make)
    laws_shape.has_its_shape(subject)
    assert sum(p.numel() for p in subject.parameters()) == (num_taps if trainable else 0)
    assert list(subject.state_dict()) == ["taps"]


def test_it_convolves_with_the_file(file):
    audio = torch.randn(2, 1, 3000, dtype=torch.float64)
    output = Cabinet(path=str(file), num_taps=1000).double()(audio, {})[0]
    expected = signal.lfilter(ringing(700).astype(float), 1, audio.numpy())
    np.testing.assert_allclose(output.numpy(), expected, atol=1e-12)
    assert torch.equal(Cabinet(num_taps=5)(audio.float(), {})[0], audio.float())


@pytest.mark.parametrize("rate", [44_100, 96_000])
def test_another_rate_keeps_the_frequency_response(tmp_path, rate):
    taps = ringing(2000, rate)
    soundfile.write(tmp_path / "cab.wav", taps, rate, subtype="FLOAT")
    cabinet = Cabinet(path=str(tmp_path / "cab.wav"), num_taps=4000)
    frequencies = np.linspace(200, 8_000, 500)
    of_file = signal.freqz(taps, worN=frequencies, fs=rate)[1]
    ours = signal.freqz(cabinet.taps.numpy(), worN=frequencies, fs=48_000)[1]
    # The ringing before the first sample is cut off, so that the response is not exact.
    assert np.abs(ours - of_file).max() < 0.03 * np.abs(of_file).max()


def test_cutting_off_an_audible_part_warns(file, caplog):
    Cabinet(path=str(file), num_taps=700)
    assert caplog.text == ""
    Cabinet(path=str(file), num_taps=100)
    assert "beyond 100 taps" in caplog.text
    assert "num_taps to 700" in caplog.text


@pytest.mark.parametrize("afterwards", ["gone", "another"])
@pytest.mark.parametrize("trainable", [False, True])
def test_a_bundle_needs_no_file(file, tmp_path, trainable, afterwards):
    section = {"name": "cabinet", "path": str(file), "num_taps": 300, "trainable": trainable}
    model = build("model", {"name": "graybox", "processors": [section]})
    audio = torch.randn(1, 1, 500)
    expected = model(audio)[0]
    save_bundle(model, tmp_path / "cab.nfx")
    if afterwards == "gone":
        file.unlink()
    else:
        soundfile.write(file, np.zeros((10, 2)), 44_100)
    assert torch.equal(load_bundle(tmp_path / "cab.nfx")(audio)[0], expected)


def wrong(tmp_path, what):
    path = tmp_path / "wrong.wav"
    if what == "stereo":
        soundfile.write(path, np.ones((10, 2)), 48_000)
    elif what == "no audio":
        path.write_text("no audio")
    elif what == "silent":
        soundfile.write(path, np.zeros(10), 48_000)
    return path


WRONG = {
    "missing": "there is no such file",
    "stereo": "has 2 channels",
    "no audio": "is not an audio file that can be read",
    "silent": "is silent",
}


@pytest.mark.parametrize("what", WRONG)
def test_an_unusable_file_is_refused(tmp_path, what):
    path = wrong(tmp_path, what)
    chain = GrayBox([{"name": "cabinet", "path": str(path)}])
    with pytest.raises(DataError, match=WRONG[what]):
        chain(torch.zeros(1, 1, 10))
    if what == "silent":
        return  # only detected when the whole file is read
    experiment = tmp_path / "e.yaml"
    experiment.write_text(
        "data: {name: pair, dry: a.wav, wet: b.wav}\n"
        f"model:\n  name: graybox\n  processors:\n    - {{name: cabinet, path: {path}}}\n"
    )
    with pytest.raises(ConfigError, match=rf"e.yaml:5: model.processors.0.path: .*{WRONG[what]}"):
        load_experiment([experiment])


def test_no_taps_are_refused():
    with pytest.raises(ModelError, match="cabinet: num_taps .* 0"):
        Cabinet(num_taps=0)


def test_dry_beside_an_impulse_is_twice_the_audio():
    branches = [[], [{"name": "cabinet", "num_taps": 600}]]
    chain = GrayBox([{"parallel": branches, "mix": {"fixed": {"mix": 0.5}}}, {"name": "gain", "fixed": {"gain_db": 0}}])
    audio = torch.randn(2, 1, 1000)
    assert chain.latency == 0
    assert torch.equal(chain(audio)[0], audio)


@pytest.mark.parametrize("latency", [35, 44])
def test_dry_beside_a_pure_delay_is_twice_the_audio(latency):
    """Mixing with a pure delay that has the latency of `oversampled` has no comb filtering, to the last bit."""
    late = {"name": "reference.toys:Gain", "latency": latency, "fixed": {"gain_db": 0.0}}
    wet = [late, {"name": "cabinet", "num_taps": 100}]
    chain = GrayBox([{"parallel": [[], wet, []], "mix": {"fixed": {"level_0": 1, "level_1": 1, "level_2": 0}}}])
    audio = torch.randn(2, 1, 1000)
    assert chain.latency == latency
    assert torch.equal(chain(audio)[0], 2 * audio)


def test_the_dry_branch_is_delayed_by_a_latency_before_it():
    """Mixing dry audio with an oversampled amplifier and its cabinet has no comb filtering."""
    fixed = {"drive_db": 12, "threshold": 0.5, "knee": 1}
    wet = [
        {"name": "oversampled", "factor": 4, "processor": {"name": "soft_clip"}, "fixed": fixed},
        {"name": "cabinet", "num_taps": 300},
    ]
    mixed = GrayBox([{"parallel": [[], wet], "mix": {"fixed": {"mix": 0.3}}}])
    audio = torch.rand(1, 1, 2000) * 2 - 1
    expected = 0.7 * audio + 0.3 * GrayBox(wet)(audio)[0]
    torch.testing.assert_close(mixed(audio)[0], expected)
    laws.stream_equals_offline(mixed, [100, 1, 700, 33])
