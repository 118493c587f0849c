"""A FLAC file whose header declares no length, or too little, is read to its last complete frame."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest
import soundfile
import torch

from nablafx_core.audio import reading as files
from nablafx_core.audio.flac import flac_length
from nablafx_core.errors import DataError

RANDOM = np.random.default_rng(0)
SIGNALS = {
    "noise": lambda shape: 0.3 * RANDOM.standard_normal(shape).clip(-3, 3),
    "sine": lambda shape: 0.5 * np.sin(0.05 * np.arange(shape[0]))[:, None].repeat(shape[1], 1),
    "silence": np.zeros,
}


def flac(audio, declared=None, subtype="PCM_16"):
    """Encode a file, and change the length in its header."""
    buffer = io.BytesIO()
    soundfile.write(buffer, audio, 48_000, subtype, format="FLAC")
    content = bytearray(buffer.getvalue())
    if declared is not None:
        word = int.from_bytes(content[18:26], "big")
        content[18:26] = ((word >> 36 << 36) + declared).to_bytes(8, "big")
    return bytes(content)


def expected(audio):
    buffer = io.BytesIO(flac(audio))
    return torch.from_numpy(soundfile.read(buffer, dtype="float32", always_2d=True)[0].T)


@pytest.mark.parametrize("kind", SIGNALS)
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
@pytest.mark.parametrize("channels", [1, 2])
def test_the_last_frame_gives_the_length_that_the_encoder_wrote(tmp_path, kind, subtype, channels):
    for samples in (1, 17, 4095, 4096, 4097, 300_001):
        (tmp_path / "a.flac").write_bytes(flac(SIGNALS[kind]((samples, channels)), subtype=subtype))
        length = flac_length(tmp_path / "a.flac")
        assert (length.declared, length.found, length.sample_rate) == (samples, samples, 48_000)
        assert length.patched == (tmp_path / "a.flac").read_bytes()[18:26]
        assert length.remark() is None


@pytest.mark.parametrize("declared", [0, 1, 10_000, 59_999])
@pytest.mark.parametrize("tail", [b"", b"TAG" + bytes(125)])
def test_a_file_that_declares_too_little_is_read_to_its_end_with_a_warning(tmp_path, caplog, declared, tail):
    audio = SIGNALS["noise"]((60_000, 2))
    path = tmp_path / "a.flac"
    path.write_bytes(flac(audio, declared) + tail)
    assert files.probe(path) == (60_000, 48_000, 2, "FLAC PCM_16")
    assert ("1.25 s. All of it is read" in caplog.text) == (declared > 0)
    whole = expected(audio)
    assert torch.equal(files.read(path), whole)
    draw = random.Random(0)
    for _ in range(10):
        start, stop = sorted(draw.sample(range(60_001), 2))
        assert torch.equal(files.read(path, start, stop), whole[:, start:stop])


def test_the_complete_frames_of_an_interrupted_recording_are_read(tmp_path):
    audio = SIGNALS["noise"]((60_000, 1))
    path = tmp_path / "a.flac"
    content = flac(audio, 0)
    for cut in (1, 100, 5000):
        path.write_bytes(content[:-cut])
        read = files.read(path)
        assert read.shape[1] % 4096 == 0 and 45_000 < read.shape[1] < 60_000
        assert torch.equal(read, expected(audio)[:, : read.shape[1]])


def test_a_truncated_file_is_rejected(tmp_path):
    (tmp_path / "a.flac").write_bytes(flac(SIGNALS["noise"]((60_000, 1)))[:-5000])
    with pytest.raises(DataError, match=r"a\.flac: is cut off"):
        files.probe(tmp_path / "a.flac")


def test_a_file_without_length_and_frames_is_rejected(tmp_path):
    (tmp_path / "a.flac").write_bytes(flac(SIGNALS["noise"]((9000, 1)), 0)[:3000])
    with pytest.raises(DataError, match=r"a\.flac: does not declare its length"):
        files.probe(tmp_path / "a.flac")


def test_invalid_content_is_left_to_libsndfile(tmp_path):
    path = tmp_path / "a.flac"
    for size in (0, 3, 10, 40, 5000):
        path.write_bytes(b"fLaC" + bytes(1) + RANDOM.bytes(size))
        flac_length(path)
        with pytest.raises(DataError):
            files.probe(path)
