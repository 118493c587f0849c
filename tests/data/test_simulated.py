"""Simulated recordings: music through a device, rendered once and read like other recordings."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from nablafx_core.errors import DataError, NablafxError
from nablafx_core.registry.building import build
from nablafx_data import simulated
from nablafx_data.plucked import music, pluck
from nablafx_data.simulated import Simulated
from reference.small_disk import small_disk

pytestmark = pytest.mark.slow

PACK = """
import numpy as np
from nablafx_core.controls import Control
from nablafx_core.interfaces import Device

class Clip(Device):
    controls = (Control("drive", 0.0, 20.0, "dB", default=6.6), Control("mode", positions=("soft", "hard")))

    def render(self, audio, sample_rate, controls=()):
        drive, mode = controls
        driven = 10 ** drive * audio
        return np.tanh(driven) if mode < 0.5 else np.clip(driven, -0.9, 0.9)

class Plain(Device):
    def render(self, audio, sample_rate, controls=()):
        return 0.5 * audio

class Many(Device):
    controls = tuple(Control(name) for name in "abcd")

@hookimpl
def nablafx_devices():
    return [Component(name.lower(), f"{__name__}:{name}", "a test") for name in ("Clip", "Plain", "Many")]
"""


@pytest.fixture(autouse=True)
def device(install, tmp_path, monkeypatch):
    install("acme", PACK)
    monkeypatch.setenv("NABLAFX_CACHE", str(tmp_path / "cache"))


SMALL = {"device": "clip", "seconds": 4.0, "sample_rate": 16000}


def made(tmp_path, **settings):
    return Simulated(str(tmp_path / "sim"), **{**SMALL, **settings})


def test_every_wet_file_is_the_device_applied_to_the_dry_file(tmp_path):
    data = made(tmp_path)
    device = build("device", "clip")
    assert data.controls == device.controls
    assert data.sample_rate == 16000
    for recording in data.recordings:
        dry = recording.dry.read(0, recording.num_samples)
        wet = device.render(dry.double().numpy(), 16000, recording.controls)
        assert torch.equal(recording.wet.read(0, recording.num_samples), torch.from_numpy(wet).float())


def test_the_test_has_other_music_and_settings_than_the_training(tmp_path):
    data = made(tmp_path)
    training = [r for r in data.recordings if r.part == "trainval"]
    test = [r for r in data.recordings if r.part == "test"]
    grid = {(drive, mode) for drive in (0.0, 0.5, 1.0) for mode in (0.0, 1.0)}
    assert {r.controls for r in training} == grid
    assert {r.controls for r in test} > grid
    assert len({r.source for r in training}) == 4
    signals = {r.source: r.dry.read(0, r.num_samples) for r in data.recordings}
    assert len(signals) == 5
    for one in signals:
        for other in signals:
            assert one == other or abs(np.corrcoef(signals[one], signals[other])[0, 1]) < 0.2


def test_a_switch_is_only_recorded_at_its_positions(tmp_path):
    assert {r.controls[1] for r in made(tmp_path).recordings} == {0.0, 1.0}


def test_positions_can_be_set_in_the_knobs_units(tmp_path):
    data = made(tmp_path, settings={"drive": [5, 20.0], "mode": ["hard"]})
    assert {r.controls for r in data.recordings if r.part == "trainval"} == {(0.25, 1.0), (1.0, 1.0)}


def test_one_setting_is_the_defaults_and_has_no_knobs(tmp_path):
    data = made(tmp_path, num_settings=1)
    assert data.controls == ()
    assert {r.name.split(".")[0] for r in data.recordings} == {"D033_M050"}


def test_a_device_without_knobs_is_rendered_once(tmp_path):
    data = made(tmp_path, device="plain")
    assert (data.controls, len(data.recordings)) == ((), 5)


def test_it_is_rendered_once_and_the_same_everywhere(tmp_path, monkeypatch):
    first = made(tmp_path)
    again = Simulated(str(tmp_path / "other"), **SMALL)
    for one, other in zip(first.recordings, again.recordings, strict=True):
        assert torch.equal(one.dry.read(0, 16000), other.dry.read(0, 16000))
    monkeypatch.setattr(simulated, "build", None)
    assert [r.name for r in made(tmp_path).recordings] == [r.name for r in first.recordings]


def test_another_seed_makes_other_music(tmp_path):
    one = made(tmp_path).recordings[0].dry.read(0, 16000)
    other = Simulated(str(tmp_path / "other"), **SMALL, seed=1).recordings[0].dry.read(0, 16000)
    assert not torch.equal(one, other)


def test_a_folder_with_other_settings_or_other_things_is_refused(tmp_path):
    made(tmp_path)
    with pytest.raises(DataError, match=r"rendered with other settings \(seconds 4.0\)"):
        made(tmp_path, seconds=5.0)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").touch()
    with pytest.raises(DataError, match="photos: .* simulated data"):
        Simulated(str(tmp_path / "photos"), **SMALL)
    assert os.listdir(tmp_path / "photos") == ["me.jpg"]


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"[1, 2]",
        b"\xff\xfe",
        b"!!python/object/apply:os.system [ls]",
        b"[" * 10_000,
        b"device: &a [*a]",
    ],
)
def test_a_damaged_manifest_is_refused_and_nothing_is_written(tmp_path, damage):
    made(tmp_path)
    (tmp_path / "sim" / simulated.MANIFEST).write_bytes(damage)
    before = sorted(path for path in tmp_path.rglob("*") if "cache" not in path.parts)
    with pytest.raises(DataError, match="sim: (does not contain simulated data|was rendered with other settings)"):
        made(tmp_path)
    assert sorted(path for path in tmp_path.rglob("*") if "cache" not in path.parts) == before


@pytest.mark.parametrize("read_only", [False, True], ids=["full", "read-only"])
def test_a_full_disk_is_reported_and_left_unchanged(tmp_path, read_only):
    with small_disk(tmp_path / "disk", 16_384, read_only=read_only):
        with pytest.raises(DataError, match=r"disk/sim(/.*wav)?: cannot be written: .*\."):
            Simulated(str(tmp_path / "disk" / "sim"), **SMALL)
        with pytest.raises(DataError, match=r"disk/a/b/sim(/.*wav)?: cannot be written: .*\."):
            Simulated(str(tmp_path / "disk" / "a" / "b" / "sim"), **SMALL)
        assert not list((tmp_path / "disk").iterdir())


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "sim").mkdir()
    assert made(tmp_path).recordings


def test_an_interrupted_rendering_leaves_no_folder(tmp_path, monkeypatch):
    real, calls = simulated.write, []

    def stops(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        real(*arguments)

    monkeypatch.setattr(simulated, "write", stops)
    with pytest.raises(KeyboardInterrupt):
        made(tmp_path)
    assert not [path for path in tmp_path.iterdir() if "sim" in path.name]
    monkeypatch.setattr(simulated, "write", real)
    assert made(tmp_path).recordings


def test_two_processes_that_render_the_same_both_succeed(tmp_path, monkeypatch):
    real = simulated._render

    def overtaken(path, manifest):
        real(path, manifest)
        monkeypatch.setattr(simulated, "_render", real)
        made(tmp_path)

    monkeypatch.setattr(simulated, "_render", overtaken)
    assert made(tmp_path).recordings
    assert [path.name for path in tmp_path.iterdir() if "sim" in path.name] == ["sim"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"settings": {"tone": [1]}}, "no knob 'tone'. Knobs: drive, mode"),
        ({"settings": {"drive": [21]}}, "outside 0 to 20 dB"),
        ({"device": "clap"}, "clap"),
        ({"settings": {"drive": []}}, "data.settings: .* 'drive'"),
        ({"num_settings": 0}, "data.num_settings .*1 to 101, got 0"),
        ({"num_settings": 10**9}, "data.num_settings .*1000000000"),
        ({"seconds": 0.5}, "data.seconds .*1 to 36,000, got 0.5"),
        ({"seconds": float("nan")}, "data.seconds .*nan"),
        ({"seconds": 1e12}, "data.seconds .*1e"),
        ({"seed": -1}, "data.seed .*-1"),
        ({"sample_rate": 0}, "data.sample_rate .*1,000 to 1,000,000 Hz, got 0"),
        ({"device": "many", "num_settings": 101}, "104,060,401 .*data.num_settings"),
    ],
)
def test_invalid_settings_are_refused_and_leave_no_folder(tmp_path, wrong, message):
    with pytest.raises(NablafxError, match=message):
        made(tmp_path, **wrong)
    assert not [path for path in tmp_path.iterdir() if "sim" in path.name]


@pytest.mark.parametrize("frequency", [82.4, 110.0, 443.7, 1318.5])
def test_a_string_sounds_at_its_pitch_and_decays(frequency):
    string = pluck(frequency, 2.0, 48000, np.random.default_rng(0))
    spectrum = np.abs(np.fft.rfft(string * np.hanning(len(string)), 1 << 20))
    around = slice(int(0.9 * frequency * (1 << 20) / 48000), int(1.1 * frequency * (1 << 20) / 48000))
    found = (around.start + np.argmax(spectrum[around])) * 48000 / (1 << 20)
    assert abs(1200 * np.log2(found / frequency)) < 2  # cents
    assert np.abs(string).max() == 1
    assert np.square(string[48000:]).sum() < 0.5 * np.square(string[:48000]).sum()


def test_music_varies_in_loudness_and_stays_in_range():
    audio = music(20.0, 16000, np.random.default_rng(0))
    assert len(audio) == 320_000
    assert np.abs(audio).max() == pytest.approx(0.9)
    level = np.sqrt(np.square(audio.reshape(-1, 8000)).mean(axis=1))
    assert level.max() > 4 * level.min()
