"""Audio files are read as they were written, and a bad one is refused with its name."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import soundfile
import torch

from nablafx_core.audio import files
from nablafx_core.errors import DataError
from reference.small_disk import small_disk


def _noise(channels=2, time=1000):
    return torch.randn(channels, time, generator=torch.Generator().manual_seed(0)) * 0.3


@pytest.mark.parametrize("extension", ["wav", "w64", "aiff", "caf"])
def test_float_files_give_back_every_bit(tmp_path, extension):
    audio = 4 * _noise()  # beyond full scale as well
    files.write(tmp_path / f"a.{extension}", audio, 44100)
    assert torch.equal(files.read(tmp_path / f"a.{extension}"), audio)


def test_flac_is_right_to_24_bits_and_says_that_it_clips(tmp_path, caplog):
    audio = _noise().clamp(-0.9, 0.9)
    files.write(tmp_path / "a.flac", audio, 48000)
    assert (files.read(tmp_path / "a.flac") - audio).abs().max() <= 2**-23
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        files.write(tmp_path / "a.flac", 2 * audio, 48000)
    assert "a.flac" in caplog.text
    assert files.read(tmp_path / "a.flac").abs().max() <= 1


def test_probe_says_what_was_written_and_mono_may_be_one_dimensional(tmp_path):
    files.write(tmp_path / "a.wav", _noise(1)[0], 96000)
    assert files.probe(tmp_path / "a.wav") == (1000, 96000, 1, "WAV FLOAT")


def test_a_piece_is_that_piece_of_the_whole(tmp_path):
    files.write(tmp_path / "a.wav", _noise(), 48000)
    whole = files.read(tmp_path / "a.wav")
    assert torch.equal(files.read(tmp_path / "a.wav", 123, 777), whole[:, 123:777])
    assert files.read(tmp_path / "a.wav", 5, 5).shape == (2, 0)
    for start, stop in ((-1, 5), (5, 4), (0, 1001)):
        with pytest.raises(DataError, match="1000 samples"):
            files.read(tmp_path / "a.wav", start, stop)


@pytest.mark.parametrize(
    ("extension", "subtype"), [("wav", "FLOAT"), ("wav", "PCM_16"), ("aiff", "PCM_16"), ("flac", "PCM_16")]
)
def test_a_file_that_is_cut_off_is_refused_when_it_is_opened(tmp_path, extension, subtype):
    path = tmp_path / f"cut.{extension}"
    soundfile.write(path, _noise(2, 20000).numpy().T, 48000, subtype=subtype)
    files.probe(path)
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(DataError, match=rf"cut\.{extension}: is cut off"):
        files.probe(path)


def test_a_length_that_a_pipe_left_open_is_no_damage(tmp_path):
    path = tmp_path / "piped.wav"
    soundfile.write(path, _noise(1).numpy().T, 48000, subtype="PCM_16")
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[4:8] = content[at : at + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert files.probe(path).num_samples == 1000


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "not an audio file"), (b"hello" * 99, "not an audio file"), (None, "no such file")]
)
def test_what_is_no_audio_is_named(tmp_path, content, message):
    if content is not None:
        (tmp_path / "x.wav").write_bytes(content)
    with pytest.raises(DataError, match=rf"x\.wav: .*{message}"):
        files.read(tmp_path / "x.wav")


def test_no_samples_are_no_audio(tmp_path):
    soundfile.write(tmp_path / "x.wav", np.zeros(0), 48000)
    with pytest.raises(DataError, match="holds no audio"):
        files.probe(tmp_path / "x.wav")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_found_and_placed(tmp_path, value):
    audio = _noise().numpy()
    audio[1, 678] = value
    soundfile.write(tmp_path / "x.wav", audio.T, 48000, subtype="FLOAT")
    assert files.read(tmp_path / "x.wav", 0, 600).shape == (2, 600)
    with pytest.raises(DataError, match=r"x\.wav: sample 678 "):
        files.read(tmp_path / "x.wav", 600, 1000)
    with pytest.raises(DataError, match=r"y\.wav: sample 678 "):
        files.write(tmp_path / "y.wav", torch.from_numpy(audio), 48000)
    assert not (tmp_path / "y.wav").exists()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    files.write(path, _noise(), 48000)
    before = path.read_bytes()
    real = soundfile.write

    def fails_half_way(name, data, *arguments, **keywords):
        real(name, data[:10], *arguments, **keywords)
        raise OSError("disk full")

    monkeypatch.setattr(soundfile, "write", fails_half_way)
    with pytest.raises(DataError, match="disk full"):
        files.write(path, 2 * _noise(), 48000)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_unknown_extensions_and_folders_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"\.xyz.*\.wav"):
        files.write(tmp_path / "a.xyz", _noise(), 48000)
    with pytest.raises(DataError, match="no folder"):
        files.write(tmp_path / "missing" / "a.wav", _noise(), 48000)


@pytest.mark.parametrize("rate", [1, 999, 1_000_001, 2_000_000_000])
def test_a_rate_that_no_recording_has_is_damage(tmp_path, rate):
    """A model's rate over 1 Hz is a file 48,000 times as long."""
    soundfile.write(tmp_path / "x.wav", _noise(1).numpy().T, rate)
    with pytest.raises(DataError, match=rf"x\.wav: its header says {rate} Hz"):
        files.probe(tmp_path / "x.wav")


def test_names_that_no_file_can_have(tmp_path):
    for name in ("a" * 5000 + ".wav", "a\0b.wav"):
        with pytest.raises(DataError, match="no such file"):
            files.probe(tmp_path / name)
    with pytest.raises(DataError, match=r"cannot be written: File name too long\."):
        files.write(tmp_path / f"{'a' * 300}.wav", _noise(), 48000)
    longest = tmp_path / f"{'a' * 251}.wav"
    files.write(longest, _noise(), 48000)
    assert list(tmp_path.iterdir()) == [longest]


def test_an_mp3_that_says_it_lasts_for_weeks_is_damaged(tmp_path, capfd):
    files.write(tmp_path / "x.mp3", _noise(2, 20_000), 48000)
    content = bytearray((tmp_path / "x.mp3").read_bytes())
    at = max(content.find(b"Info"), content.find(b"Xing")) + 8  # the tag, its flags, then the number of frames
    content[at : at + 4] = b"\x7f\xff\xff\xff"
    (tmp_path / "x.mp3").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.mp3: (is damaged|is cut off|ends at sample)"):
        files.read(tmp_path / "x.mp3")
    capfd.readouterr()  # the decoder's own words


def test_a_raw_file_has_no_header(tmp_path):
    (tmp_path / "x.raw").write_bytes(bytes(1000))
    with pytest.raises(DataError, match=r"x\.raw: is not an audio file that can be read"):
        files.probe(tmp_path / "x.raw")


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg", "mp3", "aiff", "caf", "w64"])
@pytest.mark.parametrize("read_only", [False, True], ids=["full", "read-only"])
def test_a_disk_that_takes_no_more_is_told_and_keeps_what_it_has(tmp_path, extension, read_only):
    path = tmp_path / "disk" / f"a.{extension}"
    audio = 0.5 * torch.randn(2, 40_000, generator=torch.Generator().manual_seed(1))
    reason = "Read-only file system|Permission denied" if read_only else "No space left on device|File too large"
    with small_disk(tmp_path / "disk", 8192, lambda disk: (disk / path.name).write_bytes(b"old"), read_only):
        with pytest.raises(DataError, match=rf"a\.{extension}: cannot be written: ({reason})\."):
            files.write(path, audio, 48000)
        assert [(path.name, path.read_bytes()) for path in (tmp_path / "disk").iterdir()] == [(path.name, b"old")]
