"""``nablafx render``: one file or many, knob settings, and the outputs when some files fail."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from nablafx_core.audio import reading as files
from nablafx_core.cli import cli
from reference.toys import Echo


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Write three recordings, and a bundle of a model with one knob."""
    monkeypatch.chdir(tmp_path)
    model = Echo(2)
    monkeypatch.setattr("nablafx_core.runs.find_model.find_model", lambda name, runs_dir: Path(name))
    monkeypatch.setattr("nablafx_core.bundles.loading.load", lambda place: model)
    for seed, name in enumerate(("a.wav", "b.flac", "c.wav")):
        generator = torch.Generator().manual_seed(seed)
        files.write(name, 0.02 * torch.randn(1, 3000, generator=generator), 48_000)
    return tmp_path


def run(*arguments, code=0):
    result = CliRunner().invoke(cli, ["render", "model.nfx", *map(str, arguments)])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


def content(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}


def test_rendering_one_file_prints_the_knobs(folder):
    result = run("a.wav", "out.wav")
    assert result.stdout == "out.wav\n"
    assert result.stderr == "Controls  knob = 0.5 (default)\n"
    assert "knob = 0.25\n" in run("a.wav", "out.wav", "-c", "knob=0.25").stderr


def test_many_files_are_rendered_to_a_folder_independently(folder):
    result = run("a.wav", "b.flac", "c.wav", "-o", "deep/out")
    assert result.stdout.split() == ["deep/out/a.wav", "deep/out/b.wav", "deep/out/c.wav"]
    run("b.flac", "alone.wav")
    assert torch.equal(files.read("deep/out/b.wav"), files.read("alone.wav"))
    run("c.wav", "--out-dir", "one")
    assert list(content("one")) == ["c.wav"]


def test_json_contains_files_and_knobs(folder):
    told = json.loads(run("a.wav", "b.flac", "-o", "out", "--json", "--bits", "16", "-c", "knob=1").stdout)
    assert told["controls"] == [{"name": "knob", "value": 1.0, "unit": "", "default": False}]
    assert (told["model"], told["sample_rate"]) == ("model.nfx", 48_000)
    first = told["files"][0]
    peak = first.pop("peak")
    assert first == {
        "source": "a.wav",
        "output": "out/a.wav",
        "num_samples": 3000,
        "sample_rate": 48_000,
        "channels": 1,
        "format": "WAV PCM_16",
        "clipped": 0,
        "notes": [],
    }
    assert peak == pytest.approx(float(files.read("out/a.wav").abs().max()), abs=1e-4)


def test_a_failed_file_leaves_no_output_and_the_others_are_rendered(folder):
    (folder / "bad.wav").write_bytes(b"no audio")
    result = run("a.wav", "bad.wav", "missing.wav", "c.wav", "-o", "out", code=1)
    assert result.stdout.split() == ["out/a.wav", "out/c.wav"]
    assert "Error: bad.wav: is not an audio file" in result.stderr
    assert "Error: missing.wav: there is no such file" in result.stderr
    assert "2 of 4 files were rendered." in result.stderr
    assert set(content("out")) == {"a.wav", "c.wav"}
    told = json.loads(run("a.wav", "bad.wav", "-o", "out", "--json", code=1).stdout)
    assert ["error" in row for row in told["files"]] == [False, True]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["a.wav"], 2, "1 file was given. Write SOURCE OUTPUT, or several SOURCE with --out-dir FOLDER"),
        (["a.wav", "b.flac", "c.wav"], 2, "3 files were given."),
        (["a.wav", "b.flac", "-o", "."], 1, "a.wav: is one of the files to render"),
        (["a.wav", "sub/a.wav", "-o", "out"], 1, "a.wav and sub/a.wav would both become out/a.wav"),
        (["a.wav", "a.wav", "-o", "out"], 1, "would both become"),
        (["a.wav", "b.flac", "-o", "out", "-c", "nob=1"], 1, "has no control 'nob'"),
        (["a.wav", "b.flac", "-o", "file"], 2, "is a file"),
        (["a.wav", "x.wav", "--bits", "20"], 2, "'20' is not one of '16', '24', '32f'"),
    ],
)
def test_invalid_arguments_are_rejected_before_anything_is_written(folder, arguments, code, message):
    (folder / "sub").mkdir()
    (folder / "file").write_bytes(b"")
    (folder / "sub" / "a.wav").write_bytes((folder / "a.wav").read_bytes())
    before = content(folder)
    result = CliRunner().invoke(cli, ["render", "model.nfx", *arguments])
    assert result.exit_code == code
    assert message in " ".join((result.stderr + str(result.exception)).split())
    assert content(folder) == before
    assert not (folder / "out").exists() or not list((folder / "out").iterdir())


def test_an_output_folder_that_links_to_the_sources_is_rejected(folder):
    (folder / "link").symlink_to(".")
    before = content(folder)
    result = CliRunner().invoke(cli, ["render", "model.nfx", "a.wav", "c.wav", "-o", "link"])
    assert "is one of the files to render" in str(result.exception)
    assert content(folder) == before


def test_clipping_at_16_bits_is_reported_with_count_and_peak(folder):
    files.write("loud.wav", torch.full((1, 1000), 3.0), 48_000)
    told = json.loads(run("loud.wav", "out.wav", "--bits", "16", "--json").stdout)["files"][0]
    assert told["clipped"] > 900
    assert f"peaks at {told['peak']:.2f} of full scale" in told["notes"][0]
    assert json.loads(run("loud.wav", "out.wav", "--json").stdout)["files"][0]["clipped"] == 0


def test_a_header_with_too_small_a_length_is_reported_once_as_text_and_json(folder):
    files.write("cut.wav", torch.rand(1, 3000), 48_000, "16")
    content = bytearray(Path("cut.wav").read_bytes())
    at = content.index(b"data") + 4
    struct.pack_into("<I", content, at, 2000)
    Path("cut.wav").write_bytes(content)
    result = run("cut.wav", "out.wav", "--json")
    told = json.loads(result.stdout)["files"][0]
    assert told["num_samples"] == 3000
    (note,) = told["notes"]
    assert note.startswith("cut.wav: declares ")
    assert "All of it is read." in note
    assert result.stderr.count("All of it is read.") == 1
    assert run("cut.wav", "out.wav").stderr.count("All of it is read.") == 1


@pytest.mark.parametrize(("peak", "divisor"), [(31_741, "32,768"), (8_000_000, "8,388,608")])
def test_integers_written_as_floats_are_reported(folder, peak, divisor):
    files.write("integers.wav", peak * torch.linspace(-1, 1, 100_000)[None], 48_000)
    (note,) = json.loads(run("integers.wav", "out.wav", "--json").stdout)["files"][0]["notes"]
    assert note.startswith(f"integers.wav: peaks at {peak:,} times full scale: its samples are probably integers")
    assert f"Divide them by {divisor}" in note
