"""A header with a wrong length never shortens a recording silently."""

from __future__ import annotations

import io
import os
import struct

import numpy as np
import pytest
import soundfile
import torch

from nablafx_core.audio import reading as files
from nablafx_core.data.sources import WavSource
from nablafx_core.errors import DataError

AUDIO = 0.3 * np.random.default_rng(0).standard_normal((2000, 2)).astype(np.float32)
W64 = bytes.fromhex("f3acd3118cd100c04f8edb8a")

# Name: container, sample format, byte order, what stands before the length and how far, and how it is written.
LENGTHS = {
    "wav": ("WAV", "PCM_16", "FILE", b"data", 4, "<I"),
    "wav-24": ("WAV", "PCM_24", "FILE", b"data", 4, "<I"),
    "wav-float": ("WAV", "FLOAT", "FILE", b"data", 4, "<I"),
    "wav-extensible": ("WAVEX", "PCM_24", "FILE", b"data", 4, "<I"),
    "wav-8": ("WAV", "PCM_U8", "FILE", b"data", 4, "<I"),
    "wav-mu-law": ("WAV", "ULAW", "FILE", b"data", 4, "<I"),
    "rifx": ("WAV", "PCM_16", "BIG", b"data", 4, ">I"),
    "rf64": ("RF64", "FLOAT", "FILE", b"ds64", 16, "<Q"),
    "w64": ("W64", "PCM_16", "FILE", b"data" + W64, 16, "<Q"),
    "aiff": ("AIFF", "PCM_24", "FILE", b"SSND", 4, ">I"),
    "aiff-little": ("AIFF", "PCM_16", "LITTLE", b"SSND", 4, ">I"),
    "aiff-float": ("AIFF", "FLOAT", "FILE", b"SSND", 4, ">I"),
    "caf": ("CAF", "PCM_16", "FILE", b"data", 4, ">q"),
    "caf-little": ("CAF", "FLOAT", "LITTLE", b"data", 4, ">q"),
    "au": ("AU", "PCM_16", "FILE", b".snd", 8, ">I"),
    "au-little": ("AU", "FLOAT", "LITTLE", b"dns.", 8, "<I"),
}


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("NABLAFX_CACHE", str(tmp_path / "cache"))


def _made(container, subtype, endian):
    buffer = io.BytesIO()
    soundfile.write(buffer, AUDIO, 48_000, subtype, endian, container)
    return bytearray(buffer.getvalue())


def _with_length(name, change):
    """Return a file whose declared length is `change` of the true one."""
    container, subtype, endian, before, skip, layout = LENGTHS[name]
    content = _made(container, subtype, endian)
    at = content.index(before) + skip
    true = struct.unpack_from(layout, content, at)[0]
    struct.pack_into(layout, content, at, change(true))
    return content


def _whole(tmp_path, name):
    container, subtype, endian, *_ = LENGTHS[name]
    (tmp_path / "true").write_bytes(_made(container, subtype, endian))
    return files.read(tmp_path / "true")


@pytest.mark.parametrize("share", [0, 0.1, 0.5])
@pytest.mark.parametrize("name", LENGTHS)
def test_audio_after_the_declared_end_is_read_with_a_warning(tmp_path, caplog, name, share):
    path = tmp_path / "long"
    path.write_bytes(_with_length(name, lambda true: int(true * share) // 24 * 24))
    assert torch.equal(files.read(path), _whole(tmp_path, name))
    assert files.probe(path).num_samples == len(AUDIO)
    assert torch.equal(files.read(path, 1500, 1600), _whole(tmp_path, name)[:, 1500:1600])
    if (name, share) != ("w64", 0):  # in a W64, 24 bytes are an empty chunk and 0 an open one
        assert caplog.text.count(f"{path}: declares ") == 1
        assert "0.0417 s in all" in caplog.text


@pytest.mark.parametrize("name", LENGTHS)
def test_a_truncated_file_is_rejected_with_both_lengths(tmp_path, name):
    content = _made(*LENGTHS[name][:3])
    (tmp_path / "cut").write_bytes(content[: len(content) * 3 // 4])
    with pytest.raises(DataError, match=r"cut: is cut off: .*[\d,]+ of the [\d,]+ bytes .*0\.0\d+ s of 0\.0417 s"):
        files.probe(tmp_path / "cut")


@pytest.mark.parametrize("size", [2_500_000_000, 0x90000000])
def test_a_truncated_copy_of_a_long_recording_is_not_a_file_of_undeclared_length(tmp_path, size):
    (tmp_path / "cut.wav").write_bytes(_with_length("wav", lambda true: size))
    with pytest.raises(DataError, match=r"cut\.wav: is cut off: it has 8,000 of"):
        files.probe(tmp_path / "cut.wav")


@pytest.mark.parametrize(
    ("name", "length"),
    [
        *(("wav", length) for length in (0xFFFFFFFF, 0xFFFFFFFF - 36, 0x7FFFFFFF, 0x7FFFF000, 0x80000000)),
        *(("aiff", length) for length in (0xFFFFFFFF, 0x7F000008)),
        ("caf", -1),
        ("caf-little", -1),
        ("au", 0xFFFFFFFF),
        ("au", 0x7FFFFFFF),
        ("rf64", (1 << 64) - 1),
        ("w64", (1 << 63) - 1),
    ],
)
def test_an_undeclared_length_is_computed_from_the_file_size(tmp_path, caplog, name, length):
    (tmp_path / "piped").write_bytes(_with_length(name, lambda true: length))
    assert torch.equal(files.read(tmp_path / "piped"), _whole(tmp_path, name))
    assert not caplog.records


CHUNKS = {
    "none": b"",
    "LIST": b"LIST" + struct.pack("<I", 12) + b"INFOISFTxxxx",
    "odd bext": b"bext" + struct.pack("<I", 603) + bytes(603) + b"\0",
    "odd, not padded": b"iXML" + struct.pack("<I", 5) + b"<xml>",
    "large": b"id3 " + struct.pack("<I", 50_000) + np.random.default_rng(1).bytes(50_000),
    "several": b"LIST" + struct.pack("<I", 4) + b"adtl" + b"cue " + struct.pack("<I", 4) + bytes(4),
    "unknown": b"Zz9 " + struct.pack("<I", 6) + b"abcdef",
    "known and cut off": b"bext" + struct.pack("<I", 602) + bytes(300),
    "chunk and padding": b"LIST" + struct.pack("<I", 4) + b"adtl" + bytes(2000),
    "padding": bytes(4096),
    "tag": b"TAG" + bytes(125),
    "ape": b"APETAGEX" + np.random.default_rng(1).bytes(500),
    "text": b"recorded with care\r\n",
}


@pytest.mark.parametrize("riff", ["whole", "audio only", "0"])
@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("follows", CHUNKS)
def test_chunks_after_the_audio_are_not_read(tmp_path, caplog, follows, odd, riff):
    """Most programs, but not all, pad an odd number of bytes."""
    audio = AUDIO[:1001, :1] if odd else AUDIO
    buffer = io.BytesIO()
    soundfile.write(buffer, audio, 48_000, "PCM_U8", format="WAV")
    content = bytearray(buffer.getvalue())
    riff_size = {"whole": len(content) + len(CHUNKS[follows]) - 8, "audio only": len(content) - 8, "0": 0}[riff]
    struct.pack_into("<I", content, 4, riff_size)
    (tmp_path / "a.wav").write_bytes(content + CHUNKS[follows])
    if odd:  # and the same without a padding byte
        (tmp_path / "b.wav").write_bytes(content[:-1] + CHUNKS[follows])
        assert files.probe(tmp_path / "b.wav").num_samples == len(audio)
    assert files.probe(tmp_path / "a.wav").num_samples == len(audio)
    assert not caplog.records


@pytest.mark.parametrize("name", ["w64", "aiff", "caf", "rf64"])
def test_chunks_after_the_audio_in_other_formats_are_not_read(tmp_path, caplog, name):
    chunk = {
        "w64": b"bext" + W64 + struct.pack("<Q", 24 + 16) + bytes(16),
        "aiff": b"NAME" + struct.pack(">I", 4) + b"name",
        "caf": b"info" + struct.pack(">q", 4) + bytes(4),
        "rf64": b"bext" + struct.pack("<I", 4) + bytes(4),
    }[name]
    (tmp_path / "a").write_bytes(_made(*LENGTHS[name][:3]) + chunk)
    assert torch.equal(files.read(tmp_path / "a"), _whole(tmp_path, name))
    assert not caplog.records


def test_a_second_recording_in_the_file_causes_a_warning(tmp_path, caplog):
    content = _made("WAV", "PCM_16", "FILE")
    (tmp_path / "joined.wav").write_bytes(content + content)
    (tmp_path / "two.wav").write_bytes(content + b"data" + struct.pack("<I", 400) + bytes(400))
    for name, size in (("joined.wav", f"{len(content):,}"), ("two.wav", "408")):
        assert files.probe(tmp_path / name).num_samples == len(AUDIO)
        assert f"{name}: holds another recording ({size} bytes)" in caplog.text


def test_extra_bytes_of_a_compressed_file_cause_a_warning_and_are_not_read(tmp_path, caplog):
    buffer = io.BytesIO()
    soundfile.write(buffer, np.tile(AUDIO, (10, 1)), 48_000, "IMA_ADPCM", format="WAV")
    content = bytearray(buffer.getvalue())
    at = content.index(b"data") + 4
    struct.pack_into("<I", content, at, struct.unpack_from("<I", content, at)[0] // 2 // 2048 * 2048)
    (tmp_path / "a.wav").write_bytes(content)
    assert files.probe(tmp_path / "a.wav").num_samples < 10 * len(AUDIO)
    assert "bytes follow. They are not read, because the file is compressed" in caplog.text


def test_chunks_before_the_audio_may_have_any_order(tmp_path):
    content = _made("WAV", "PCM_16", "FILE")
    at = content.index(b"data")
    for extra in (b"JUNK" + struct.pack("<I", 4001) + bytes(4002), b"Zz9 " + struct.pack("<I", 2) + b"ab"):
        moved = content[:12] + extra + content[12:at] + extra + content[at:]
        struct.pack_into("<I", moved, moved.index(b"data") + 4, 800)
        (tmp_path / "a.wav").write_bytes(moved)
        assert torch.equal(files.read(tmp_path / "a.wav"), _whole(tmp_path, "wav"))


def test_a_wav_of_more_than_4_gib_is_read(tmp_path, caplog):
    """187.4 minutes of stereo at 96 kHz and 32 bits: the declared length is the remainder of a division by 2^32."""
    frames = int(187.4 * 60 * 96_000)
    content = _made("WAV", "FLOAT", "FILE")
    start = content.index(b"data") + 8
    struct.pack_into("<I", content, start - 4, frames * 8 % (1 << 32))
    struct.pack_into("<I", content, content.index(b"fmt ") + 12, 96_000)
    path = tmp_path / "long.wav"
    path.write_bytes(content[:start])
    os.truncate(path, start + frames * 8 - 16_000)
    with open(path, "ab") as file:
        file.write(AUDIO.tobytes())
    if os.stat(path).st_blocks * 512 > 1 << 30:
        pytest.skip("the file system has no sparse files")
    assert files.probe(path).num_samples == frames
    assert "187.4 minutes in all" in caplog.text
    assert torch.equal(files.read(path, frames - 2000, frames), torch.from_numpy(AUDIO.T))
    assert torch.equal(WavSource(path, channel=1).read(frames - 5, frames), torch.from_numpy(AUDIO[-5:, 1]))


def test_invalid_headers_are_left_to_libsndfile(tmp_path):
    random = np.random.default_rng(0)
    for magic in (b"RIFF", b"RF64", b"FORM", b"riff", b"caff", b".snd"):
        for size in (0, 3, 30, 200):
            (tmp_path / "x").write_bytes(magic + random.bytes(size))
            with pytest.raises(DataError, match="x: "):
                files.probe(tmp_path / "x")
