"""Rendering a file reports differences between file and model, and loses no file."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import soundfile
import torch

from nablafx_core.audio import reading as files
from nablafx_core.audio.resampling import resample
from nablafx_core.errors import DataError, ModelError
from nablafx_core.interfaces import Model
from nablafx_core.playing.render_file import knob_settings, render_file
from reference.places import TESTS
from reference.toys import Echo

pytestmark = pytest.mark.slow


class Whole(Model):
    """Mono model that doubles the level, and cannot stream."""

    streams = False

    def forward(self, audio, controls=None, state=None):
        self.checked_controls(audio, controls)
        return 2 * audio, {}


class Stereo(Whole):
    """`Whole` with two channels."""

    in_channels = out_channels = 2


@pytest.fixture
def source(tmp_path):
    files.write(tmp_path / "in.wav", 0.1 * torch.randn(2, 500), 48000)
    return tmp_path / "in.wav"


@pytest.mark.parametrize("model", [Whole(), Stereo()])
def test_a_model_that_cannot_stream_renders_every_channel(source, tmp_path, model):
    notes = render_file(model, source, tmp_path / "out.wav").notes
    assert f"{type(model).__name__} cannot stream" in notes[-1]
    assert torch.equal(files.read(tmp_path / "out.wav"), 2 * files.read(source))
    assert ["has 2 channels; the model is mono" in note for note in notes[:-1]] == [True] * (model.in_channels == 1)


def test_a_mono_file_needs_no_note_and_a_stereo_model_rejects_it(tmp_path):
    files.write(tmp_path / "mono.wav", torch.zeros(500), 48000)
    assert render_file(Echo(2), tmp_path / "mono.wav", tmp_path / "out.wav").notes == ()
    with pytest.raises(DataError, match=r"mono\.wav: has 1 channel\(s\); the model takes 2"):
        render_file(Stereo(), tmp_path / "mono.wav", tmp_path / "no.wav")
    assert not (tmp_path / "no.wav").exists()


@pytest.mark.parametrize("value", [1.5, -0.1, float("nan"), None, "x", [1]])
def test_a_knob_outside_its_range_is_an_error_and_keeps_the_old_file(source, tmp_path, value):
    (tmp_path / "out.wav").write_bytes(b"old")
    with pytest.raises(ModelError, match="control 'knob': "):
        render_file(Echo(2), source, tmp_path / "out.wav", {"knob": value})
    assert (tmp_path / "out.wav").read_bytes() == b"old"


def test_a_model_whose_first_parameter_is_an_integer_receives_floats(source, tmp_path):
    model = Whole()
    model.order = torch.nn.Parameter(torch.tensor(3), requires_grad=False)
    render_file(model, source, tmp_path / "out.wav")
    assert torch.equal(files.read(tmp_path / "out.wav"), 2 * files.read(source))


def test_a_file_is_not_rendered_over_itself(source, tmp_path):
    before = source.read_bytes()
    (tmp_path / "link.wav").symlink_to(source)
    for output in (source, tmp_path / "link.wav", tmp_path / "." / "in.wav"):
        with pytest.raises(DataError, match="is the file to render"):
            render_file(Whole(), source, output)
    assert source.read_bytes() == before


def test_rates_without_a_common_factor_are_rejected(tmp_path):
    files.write(tmp_path / "odd.wav", torch.zeros(100), 999_999)
    with pytest.raises(DataError, match=r"odd\.wav: 999999 Hz .* 48000 Hz"):
        render_file(Whole(), tmp_path / "odd.wav", tmp_path / "out.wav")
    assert not (tmp_path / "out.wav").exists()


class Late(Model):
    """Mean of two channels, with a latency of 300 samples."""

    in_channels = 2
    out_channels = 1
    latency = 300

    def initial_state(self, batch_size, controls=None):
        return {"held": torch.zeros(batch_size, 1, self.latency)}

    def forward(self, audio, controls=None, state=None):
        mean = audio.mean(dim=1, keepdim=True)
        if state is None:
            return mean, {}
        joined = torch.cat([state["held"], mean], dim=-1)
        return joined[..., : -self.latency], {"held": joined[..., -self.latency :]}

    def flush(self, state):
        return state["held"]


@pytest.mark.parametrize("rate", [48_000, 44_100, 96_000, 22_255])
@pytest.mark.parametrize("block_size", [None, 100, 7])
def test_rendering_in_blocks_equals_rendering_the_resampled_file_at_once(tmp_path, rate, block_size):
    time = 150_000 if block_size is None else 3_000
    audio = 0.1 * torch.randn(2, time, generator=torch.Generator().manual_seed(0))
    files.write(tmp_path / "in.wav", audio, rate)
    done = []
    told = render_file(
        Late(), tmp_path / "in.wav", tmp_path / "out.wav", block_size=block_size, on_progress=done.append
    )
    wanted = resample(audio, rate, 48_000).mean(dim=0, keepdim=True)
    assert torch.equal(files.read(tmp_path / "out.wav"), wanted)
    assert sum(done) == pytest.approx(1)
    assert (told.num_samples, told.sample_rate, told.channels) == (wanted.shape[1], 48_000, 1)
    assert told.peak == float(wanted.abs().max())


def test_a_damaged_source_is_an_error_and_keeps_the_old_file(tmp_path):
    """Fail in the second block, after a part of the output was written."""
    audio = torch.zeros(1, 200_000)
    audio[0, 150_000] = float("nan")
    soundfile.write(tmp_path / "in.wav", audio.numpy().T, 48_000, subtype="FLOAT")
    (tmp_path / "out.wav").write_bytes(b"old")
    with pytest.raises(DataError, match=r"in\.wav: sample 150000 is NaN"):
        render_file(Echo(2), tmp_path / "in.wav", tmp_path / "out.wav")
    assert (tmp_path / "out.wav").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2


def test_memory_does_not_grow_with_the_length(tmp_path):
    """Peak memory is the same for rendering 2 seconds and 30 seconds, which are 23 MB as floats."""
    for seconds in (2, 30):
        files.write(tmp_path / f"{seconds}.wav", torch.zeros(2, seconds * 96_000), 96_000)
    code = (
        "import resource, sys, torch; torch.set_num_threads(1)\n"
        "from pathlib import Path\n"
        "from nablafx_core.playing.render_file import knob_settings, render_file\n"
        "from reference.toys import Echo\n"
        "for path in sys.argv[1:]:\n"
        "    render_file(Echo(2), Path(path), Path(path + '.out.wav'))\n"
        "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    command = [sys.executable, "-c", code, str(tmp_path / "2.wav"), str(tmp_path / "30.wav")]
    done = subprocess.run(command, check=True, capture_output=True, env=environment)
    short, long = (int(line) for line in done.stdout.split())
    assert long - short < 10_000


def test_the_settings_of_the_knobs_are_listed_with_their_defaults():
    knobs = knob_settings(Echo(2), {})
    assert [str(knob) for knob in knobs] == ["knob = 0.5 (default)"]
    assert [str(knob) for knob in knob_settings(Echo(2), {"knob": "0.25"})] == ["knob = 0.25"]
