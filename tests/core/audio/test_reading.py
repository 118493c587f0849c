"""Audio files are read as they were written, and faulty ones are rejected by name."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import soundfile
import torch

from nablafx_core.audio import reading as files
from nablafx_core.audio import writing
from nablafx_core.errors import DataError
from reference.small_disk import small_disk


def _noise(channels=2, time=1000):
    return torch.randn(channels, time, generator=torch.Generator().manual_seed(0)) * 0.3


@pytest.mark.parametrize("extension", ["wav", "w64", "aiff", "caf"])
def test_float_files_are_read_back_bit_by_bit(tmp_path, extension):
    audio = 4 * _noise()  # beyond full scale as well
    files.write(tmp_path / f"a.{extension}", audio, 44100)
    assert torch.equal(files.read(tmp_path / f"a.{extension}"), audio)


def test_flac_keeps_24_bits_and_warns_about_clipping(tmp_path, caplog):
    audio = _noise().clamp(-0.9, 0.9)
    files.write(tmp_path / "a.flac", audio, 48000)
    assert (files.read(tmp_path / "a.flac") - audio).abs().max() <= 2**-23
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        files.write(tmp_path / "a.flac", 2 * audio, 48000)
    assert "a.flac" in caplog.text
    assert files.read(tmp_path / "a.flac").abs().max() <= 1


def test_probe_returns_the_written_properties_and_mono_may_be_one_dimensional(tmp_path):
    files.write(tmp_path / "a.wav", _noise(1)[0], 96000)
    assert files.probe(tmp_path / "a.wav") == (1000, 96000, 1, "WAV FLOAT")


def test_reading_a_piece_equals_slicing_the_whole_file(tmp_path):
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
def test_a_truncated_file_is_rejected_when_opened(tmp_path, extension, subtype):
    path = tmp_path / f"cut.{extension}"
    soundfile.write(path, _noise(2, 20000).numpy().T, 48000, subtype=subtype)
    files.probe(path)
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(DataError, match=rf"cut\.{extension}: is cut off"):
        files.probe(path)


def test_an_undeclared_length_is_accepted(tmp_path):
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
def test_files_that_are_not_audio_are_named_in_the_error(tmp_path, content, message):
    if content is not None:
        (tmp_path / "x.wav").write_bytes(content)
    with pytest.raises(DataError, match=rf"x\.wav: .*{message}"):
        files.read(tmp_path / "x.wav")


def test_an_empty_file_is_rejected(tmp_path):
    soundfile.write(tmp_path / "x.wav", np.zeros(0), 48000)
    with pytest.raises(DataError, match="holds no audio"):
        files.probe(tmp_path / "x.wav")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinite_samples_are_rejected_with_their_position(tmp_path, value):
    audio = _noise().numpy()
    audio[1, 678] = value
    soundfile.write(tmp_path / "x.wav", audio.T, 48000, subtype="FLOAT")
    assert files.read(tmp_path / "x.wav", 0, 600).shape == (2, 600)
    with pytest.raises(DataError, match=r"x\.wav: sample 678 "):
        files.read(tmp_path / "x.wav", 600, 1000)
    with pytest.raises(DataError, match=r"y\.wav: sample 678 "):
        files.write(tmp_path / "y.wav", torch.from_numpy(audio), 48000)
    assert not (tmp_path / "y.wav").exists()


def test_a_failed_write_keeps_the_old_file_and_leaves_no_other(tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    files.write(path, _noise(), 48000)
    before = path.read_bytes()
    real = soundfile.SoundFile.write

    def fails_half_way(self, data):
        real(self, data[:10])
        raise OSError("disk full")

    monkeypatch.setattr(soundfile.SoundFile, "write", fails_half_way)
    with pytest.raises(DataError, match="disk full"):
        files.write(path, 2 * _noise(), 48000)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_reported_as_a_folder(tmp_path):
    for read in (files.probe, files.read):
        with pytest.raises(DataError, match=r"is a folder, not an audio file\. Name a file in it\."):
            read(tmp_path)


def test_unknown_extensions_and_missing_folders_are_rejected(tmp_path):
    with pytest.raises(DataError, match=r"\.xyz.*\.wav"):
        files.write(tmp_path / "a.xyz", _noise(), 48000)
    with pytest.raises(DataError, match="missing.*does not exist"):
        files.write(tmp_path / "missing" / "a.wav", _noise(), 48000)


@pytest.mark.parametrize(
    ("extension", "bits", "step"), [("wav", "16", 2**-15), ("wav", "24", 2**-23), ("flac", "16", 2**-15)]
)
def test_integer_formats_round_samples_and_count_clipped_values(tmp_path, caplog, extension, bits, step):
    audio = _noise(2, 50_000).clamp(-0.9, 0.9)
    files.write(tmp_path / f"a.{extension}", audio, 48000, bits)
    error = files.read(tmp_path / f"a.{extension}") - audio
    assert files.probe(tmp_path / f"a.{extension}").format.endswith(f"PCM_{bits}")
    assert error.abs().max() <= (1.5 if bits == "16" else 0.5) * step
    assert not caplog.records
    audio[0, 100:107], audio[1, 200] = 1.5, -2.0
    files.write(tmp_path / f"a.{extension}", audio, 48000, bits)
    assert "peaks at 2.00 of full scale" in caplog.text
    assert ": 8 values were limited" in caplog.text
    back = files.read(tmp_path / f"a.{extension}")
    assert (float(back.min()), float(back.max())) == (-1.0, 1 - step)


@pytest.mark.parametrize("extension", ["ogg", "mp3"])
def test_the_warning_of_lossy_formats_does_not_say_that_values_were_limited(tmp_path, caplog, extension):
    sine = 3 * torch.sin(0.03 * torch.arange(48_000.0))[None]
    files.write(tmp_path / f"a.{extension}", sine, 48_000)
    assert float(files.read(tmp_path / f"a.{extension}").abs().max()) > 2.5
    assert "are beyond full scale" in caplog.text and "were limited" not in caplog.text


def test_dither_makes_the_error_of_16_bits_independent_of_the_audio(tmp_path):
    """A sine of a third of a step vanishes without dither, and the error of a louder one is distortion."""
    step, time = 2**-15, torch.arange(96_000) / 48_000
    sine = 0.3 * step * torch.sin(2 * torch.pi * 997 * time)
    files.write(tmp_path / "a.wav", sine, 48_000, "16")
    back = files.read(tmp_path / "a.wav")[0]
    assert float(back @ sine / (sine @ sine)) == pytest.approx(1, abs=0.05)
    assert float((back - sine).square().mean()) == pytest.approx(step**2 / 4, rel=0.03)  # 1/12 and twice 1/12
    files.write(tmp_path / "b.wav", sine, 48_000, "16")
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


@pytest.mark.parametrize(
    ("name", "bits", "message"),
    [
        ("a.flac", "32f", r"a\.flac: FLAC .* 16 and 24, .*'32f'"),
        ("a.mp3", "16", r"a\.mp3: MP3 has no sample format, .*'16'"),
        ("a.wav", "20", r"a\.wav: .* sample format '20'\. Sample formats: 16, 24, 32f"),
    ],
)
def test_unsupported_sample_formats_are_rejected(tmp_path, name, bits, message):
    with pytest.raises(DataError, match=message):
        files.write(tmp_path / name, _noise(), 48000, bits)
    assert not list(tmp_path.iterdir())


def test_audio_too_long_for_a_wav_is_written_as_rf64(tmp_path, monkeypatch):
    """The size in a WAV's header has 32 bits."""
    monkeypatch.setitem(writing._WRITTEN, ".wav", ("WAV", "32f", 100_000))
    audio = _noise(1, 20_000)
    files.write(tmp_path / "a.wav", audio, 48000)
    assert files.probe(tmp_path / "a.wav").format == "RF64 FLOAT"
    assert torch.equal(files.read(tmp_path / "a.wav"), audio)
    with pytest.raises(DataError, match="at most 2 GiB"), writing.writing(tmp_path / "a.aiff", 48000, 2, 1 << 30):
        pass


def test_writing_in_blocks_equals_writing_at_once(tmp_path):
    audio = _noise(2, 5000)
    for bits in ("16", "24", "32f"):
        files.write(tmp_path / "whole.wav", audio, 44100, bits)
        with writing.writing(tmp_path / "blocks.wav", 44100, 2, 5000, bits) as file:
            for block in audio.split(700, dim=-1):
                file.write(block)
        assert torch.equal(files.read(tmp_path / "blocks.wav"), files.read(tmp_path / "whole.wav"))


@pytest.mark.parametrize("rate", [1, 999, 1_000_001, 2_000_000_000])
def test_an_invalid_sample_rate_is_rejected(tmp_path, rate):
    """A file with a declared rate of 1 Hz would be resampled to 48,000 times its length."""
    soundfile.write(tmp_path / "x.wav", _noise(1).numpy().T, rate)
    with pytest.raises(DataError, match=rf"x\.wav: .* {rate} Hz"):
        files.probe(tmp_path / "x.wav")


def test_invalid_file_names_are_rejected(tmp_path):
    for name in ("a" * 5000 + ".wav", "a\0b.wav"):
        with pytest.raises(DataError, match="no such file"):
            files.probe(tmp_path / name)
    with pytest.raises(DataError, match=r"cannot be written: File name too long\."):
        files.write(tmp_path / f"{'a' * 300}.wav", _noise(), 48000)
    longest = tmp_path / f"{'a' * 251}.wav"
    files.write(longest, _noise(), 48000)
    assert list(tmp_path.iterdir()) == [longest]


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path):
    path = tmp_path / f"{'あ' * 83}.wav"  # 253 bytes
    files.write(path, torch.zeros(1, 10), 48000)
    assert list(tmp_path.iterdir()) == [path]


def test_an_unsupported_sample_rate_is_rejected_and_leaves_no_file(tmp_path):
    with pytest.raises(DataError) as caught:
        files.write(tmp_path / "a.flac", torch.zeros(1, 10), 999_999)
    assert str(caught.value) == (
        f"{tmp_path / 'a.flac'}: cannot be written: Error : flac does not support this sample rate."
    )
    assert list(tmp_path.iterdir()) == []


def test_an_mp3_that_declares_a_length_of_weeks_is_rejected(tmp_path, capfd):
    files.write(tmp_path / "x.mp3", _noise(2, 20_000), 48000)
    content = bytearray((tmp_path / "x.mp3").read_bytes())
    at = max(content.find(b"Info"), content.find(b"Xing")) + 8  # the tag, its flags, then the number of frames
    content[at : at + 4] = b"\x7f\xff\xff\xff"
    (tmp_path / "x.mp3").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.mp3: (samples \d+ to|is cut off|ends at sample)"):
        files.read(tmp_path / "x.mp3")
    capfd.readouterr()  # the decoder's own words


def test_a_raw_file_without_a_header_is_rejected(tmp_path):
    (tmp_path / "x.raw").write_bytes(bytes(1000))
    with pytest.raises(DataError, match=r"x\.raw: is not an audio file that can be read"):
        files.probe(tmp_path / "x.raw")


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg", "mp3", "aiff", "caf", "w64"])
@pytest.mark.parametrize("read_only", [False, True], ids=["full", "read-only"])
def test_a_full_disk_is_an_error_and_keeps_the_old_file(tmp_path, extension, read_only):
    path = tmp_path / "disk" / f"a.{extension}"
    audio = 0.5 * torch.randn(2, 40_000, generator=torch.Generator().manual_seed(1))
    reason = "Read-only file system|Permission denied" if read_only else "No space left on device|File too large"
    with small_disk(tmp_path / "disk", 8192, lambda disk: (disk / path.name).write_bytes(b"old"), read_only):
        with pytest.raises(DataError, match=rf"a\.{extension}: cannot be written: ({reason})\."):
            files.write(path, audio, 48000)
        assert [(path.name, path.read_bytes()) for path in (tmp_path / "disk").iterdir()] == [(path.name, b"old")]
