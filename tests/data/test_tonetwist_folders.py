"""Recordings are found once, through links and under any name."""

from __future__ import annotations

import errno
import json
import os
import sys

import numpy as np
import pytest
import soundfile

from nablafx_core.errors import DataError
from nablafx_data.layout import WET, files_below
from nablafx_data.plucked import music
from nablafx_data.tonetwist import ToneTwist
from reference.forked import NABLAFX

pytestmark = pytest.mark.slow

RATE = 24_000
DRY = music(1.5, RATE, np.random.default_rng(0))


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("NABLAFX_CACHE", str(tmp_path / "cache"))


def write(path, audio):
    path.parent.mkdir(parents=True, exist_ok=True)
    # soundfile rejects such names.
    with open(path, "wb") as file:
        soundfile.write(file, audio, RATE, format="WAV", subtype="FLOAT")


def add(place, setting="D050", source="riff", part="trainval", drive=5):
    """Write a recording in the layout, and its dry file."""
    write(place / "DRY" / part / f"{source}.input.wav", DRY)
    write(place / "Pedal" / part / setting / f"{setting}.{source}.target.wav", np.tanh(drive * DRY))


def names(place, device="Pedal", **settings):
    return sorted(recording.name for recording in ToneTwist(str(place), device, **settings).recordings)


def link(path, target):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


@pytest.mark.parametrize("linked", ["settings", "part", "device", "dry", "everything", "files", "dry part"])
def test_linked_files_are_found(tmp_path, linked):
    real, place = tmp_path / "disk", tmp_path / "data"
    for setting in ("D000", "D100"):
        add(real, setting)
    links = {
        "settings": ["DRY", "Pedal/trainval/D000", "Pedal/trainval/D100"],
        "part": ["DRY", "Pedal/trainval"],
        "device": ["DRY", "Pedal"],
        "dry": ["DRY", "Pedal"],
        "everything": ["."],
        "dry part": ["DRY/trainval", "Pedal/trainval"],
        "files": ["DRY/trainval/riff.input.wav"]
        + [f"Pedal/trainval/{setting}/{setting}.riff.target.wav" for setting in ("D000", "D100")],
    }[linked]
    for name in links:
        link(place / name, real / name)
    assert names(place) == ["D000.riff", "D100.riff"]


def test_link_loops_end_and_a_file_linked_twice_counts_once(tmp_path):
    add(tmp_path)
    part = tmp_path / "Pedal" / "trainval"
    for name, target in {
        "itself": ".",
        "parent": "..",
        "data": tmp_path,
        "root": "/",
        "again": "D050",
        "D050/up": "..",
        "D050/own": part / "D050",
    }.items():
        (part / name).symlink_to(target)
    (part / "x").mkdir()
    (part / "y").mkdir()
    (part / "x" / "y").symlink_to(part / "y")
    (part / "y" / "x").symlink_to(part / "x")
    assert names(tmp_path) == ["D050.riff"]


def test_one_folder_under_two_settings_is_two_recordings(tmp_path):
    """The settings are those of the folders if the file names have none."""
    write(tmp_path / "DRY" / "trainval" / "riff.input.wav", DRY)
    write(tmp_path / "take" / "riff.target.wav", np.tanh(5 * DRY))
    for setting in ("D000", "D100"):
        link(tmp_path / "Pedal" / "trainval" / setting, tmp_path / "take")
    knobs = sorted(recording.controls for recording in ToneTwist(str(tmp_path), "Pedal").recordings)
    assert knobs == [(0.0,), (1.0,)]


def test_two_files_of_one_name_and_setting_are_still_refused(tmp_path):
    add(tmp_path)
    write(tmp_path / "Pedal" / "trainval" / "other" / "D050.riff.target.wav", np.tanh(2 * DRY))
    with pytest.raises(DataError, match="are both riff at D050"):
        names(tmp_path)


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    def refused(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    for name in ("scandir", "listdir"):
        monkeypatch.setattr(os, name, refused)
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        names(tmp_path)


def test_a_broken_link_is_named(tmp_path):
    add(tmp_path)
    link(tmp_path / "Pedal" / "trainval" / "D060" / "D060.riff.target.wav", tmp_path / "gone.wav")
    with pytest.raises(
        DataError, match=r"D060\.riff\.target\.wav: there is no such file\. It is a link to .*gone\.wav"
    ):
        names(tmp_path)


def test_hidden_and_system_files_are_ignored(tmp_path):
    add(tmp_path)
    for folder in (tmp_path / "Pedal" / "trainval" / "D050", tmp_path / "DRY" / "trainval"):
        for name in ("._D050.riff.target.wav", "._riff.input.wav", ".DS_Store", "Thumbs.db", "desktop.ini"):
            (folder / name).write_bytes(b"no audio")
        (folder / ".AppleDouble").mkdir()
        (folder / ".AppleDouble" / "D070.riff.target.wav").write_bytes(b"no audio")
    assert names(tmp_path) == ["D050.riff"]
    assert ToneTwist(str(tmp_path), "Pedal").notes == ()


def test_extensions_in_capitals_and_decomposed_names_are_read(tmp_path):
    write(tmp_path / "DRY" / "trainval" / "Riff.INPUT.WAV", DRY)
    write(tmp_path / "DRY" / "trainval" / "caf\u00e9.input.wav", DRY)
    write(tmp_path / "Pedal" / "trainval" / "D050" / "D050.Riff.target.WAV", np.tanh(5 * DRY))
    write(tmp_path / "Pedal" / "trainval" / "D050" / "D050.cafe\u0301.target.wav", np.tanh(5 * DRY))
    assert names(tmp_path) == ["D050.Riff", "D050.caf\u00e9"]


@pytest.mark.parametrize("name", ["runs #2", "[a-c]", "a: b", "2024", "100%", "{x}", "~", "*?", "\u00fc", "-x"])
def test_folders_may_have_any_name(tmp_path, name):
    add(tmp_path / name / "data")
    assert names(tmp_path / name / "data") == ["D050.riff"]
    os.rename(tmp_path / name / "data" / "Pedal", tmp_path / name / "data" / name)
    assert names(tmp_path / name / "data", name, dry="DRY") == ["D050.riff"]


def test_only_files_with_the_extension_are_found(tmp_path):
    add(tmp_path)
    found = list(files_below(tmp_path / "Pedal", WET))
    assert [path.name for path in found] == ["D050.riff.target.wav"]
    assert list(files_below(tmp_path / "nowhere", WET)) == []


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are Unicode there")
def test_names_that_are_not_utf8_are_found_read_and_printed(forked, tmp_path):
    odd = os.fsdecode(b"r\xfff")
    for setting in ("D000", "D050", "D100"):
        add(tmp_path / odd, setting, odd)
        add(tmp_path / odd, setting, "plain")
    add(tmp_path / odd, "D050", odd, "test")
    recordings = ToneTwist(str(tmp_path / odd), "Pedal", sample_rate=48_000).recordings
    assert {recording.source for recording in recordings} == {odd, "plain"}
    assert recordings[0].wet.read(0, 100).shape == (100,)
    for arguments, encoding in (([], "surrogateescape"), (["--json"], "strict")):
        command = [*NABLAFX, "data", "tonetwist", "path=.", "device=Pedal", *arguments]
        done = forked.run(command, capture_output=True, cwd=tmp_path / odd)
        assert done.returncode == 0, done.stderr
        told = done.stdout.decode(errors=encoding)
        if arguments:
            assert {row["source"] for row in json.loads(told)["recordings"]} == {odd, "plain"}
        else:
            assert f"D000.{odd}" in told
