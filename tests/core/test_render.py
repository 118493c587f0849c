"""A file through a model: what is not as the model wants it is said, and no file is lost."""

from __future__ import annotations

import pytest
import torch

from nablafx_core.audio import files
from nablafx_core.errors import DataError, ModelError
from nablafx_core.interfaces import Model
from nablafx_core.render import render_file
from reference.toys import Echo


class Whole(Model):
    """Mono, twice as loud, and needs the whole file."""

    streams = False

    def forward(self, audio, controls=None, state=None):
        self.checked_controls(audio, controls)
        return 2 * audio, {}


class Stereo(Whole):
    """The same with two channels."""

    in_channels = out_channels = 2


@pytest.fixture
def source(tmp_path):
    files.write(tmp_path / "in.wav", 0.1 * torch.randn(2, 500), 48000)
    return tmp_path / "in.wav"


@pytest.mark.parametrize("model", [Whole(), Stereo()])
def test_a_model_without_a_stream_renders_every_channel(source, tmp_path, model):
    notes = render_file(model, source, tmp_path / "out.wav")
    assert torch.equal(files.read(tmp_path / "out.wav"), 2 * files.read(source))
    assert ["has 2 channels; the model is mono and renders each" in note for note in notes] == [True] * (
        model.in_channels == 1
    )


def test_a_mono_file_gives_no_note_and_a_model_of_two_channels_refuses_it(tmp_path):
    files.write(tmp_path / "mono.wav", torch.zeros(500), 48000)
    assert render_file(Whole(), tmp_path / "mono.wav", tmp_path / "out.wav") == []
    with pytest.raises(DataError, match=r"mono\.wav: has 1 channel\(s\); the model takes 2"):
        render_file(Stereo(), tmp_path / "mono.wav", tmp_path / "no.wav")
    assert not (tmp_path / "no.wav").exists()


@pytest.mark.parametrize("value", [1.5, -0.1, float("nan"), None, "x", [1]])
def test_a_knob_outside_its_range_leaves_the_old_file(source, tmp_path, value):
    (tmp_path / "out.wav").write_bytes(b"old")
    with pytest.raises(ModelError, match="control 'knob': "):
        render_file(Echo(2), source, tmp_path / "out.wav", {"knob": value})
    assert (tmp_path / "out.wav").read_bytes() == b"old"


def test_a_file_is_not_rendered_over_itself(source, tmp_path):
    before = source.read_bytes()
    (tmp_path / "link.wav").symlink_to(source)
    for output in (source, tmp_path / "link.wav", tmp_path / "." / "in.wav"):
        with pytest.raises(DataError, match="is the file that is to be rendered"):
            render_file(Whole(), source, output)
    assert source.read_bytes() == before


def test_rates_without_a_common_factor_are_refused(tmp_path):
    files.write(tmp_path / "odd.wav", torch.zeros(100), 999_999)
    with pytest.raises(DataError, match=r"odd\.wav: 999999 Hz cannot be turned into 48000 Hz"):
        render_file(Whole(), tmp_path / "odd.wav", tmp_path / "out.wav")
    assert not (tmp_path / "out.wav").exists()
