"""The commands as a user types them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import soundfile
import torch
from click.testing import CliRunner

from nablafx_core.bundles.bundle import save_bundle
from nablafx_core.cli import cli, quickstart
from nablafx_core.controls import Control
from nablafx_core.graybox import describe
from nablafx_core.registry.building import build

pytestmark = pytest.mark.slow

RATE, DELAY = 48000, 100
SMALL = [
    "model={name: tcn, num_blocks: 3, kernel_size: 3, channel_width: 4}",
    "train.max_steps=30",
    "train.validate_every=10",
]
SMALL += ["data.segment_length=4096", "train.accelerator=cpu"]


@pytest.fixture
def pair(tmp_path, monkeypatch):
    """Write a dry recording of noisy plucks, and its output of a clipper with a delay of 100 samples."""
    monkeypatch.chdir(tmp_path)
    time = torch.arange(4 * RATE) / RATE
    bursts = torch.exp(-6 * (time % 0.5)) * torch.randn(len(time), generator=torch.Generator().manual_seed(0))
    dry = 0.3 * torch.nn.functional.avg_pool1d(bursts[None, None], 9, 1, 4)[0, 0]
    wet = torch.tanh(4 * torch.nn.functional.pad(dry, (DELAY, 0))[: len(dry)])
    soundfile.write("di.wav", dry.numpy(), RATE, subtype="FLOAT")
    soundfile.write("amp.wav", wet.numpy(), RATE, subtype="FLOAT")
    return tmp_path


def run(*arguments, code=0):
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


def test_two_recordings_train_a_model_that_renders(pair):
    options = [option for setting in SMALL for option in ("--set", setting)]
    trained = run("train", "--dry", "di.wav", "--wet", "amp.wav", *options)
    assert "100" in trained.stderr  # the measured delay
    answer = json.loads(run("runs", "--json").stdout)
    assert [row["status"] for row in answer] == ["COMPLETED"]
    shown = json.loads(run("runs", "show", "latest", "--json").stdout)
    assert shown["id"] == answer[0]["id"]

    run("render", "latest", "di.wav", "whole.wav")
    run("render", answer[0]["id"], "di.wav", "blocks.wav", "--block-size", 100)
    run("render", f"runs/{answer[0]['id']}/model.nfx", "di.wav", "bundle.wav")
    whole, blocks, bundle = (soundfile.read(f"{name}.wav")[0] for name in ("whole", "blocks", "bundle"))
    assert abs(whole - blocks).max() < 1e-5
    assert (whole == bundle).all()
    assert len(whole) == 4 * RATE

    tested = json.loads(run("test", "latest", "--json").stdout)
    assert tested["test"] == pytest.approx({k[5:]: v for k, v in shown["summary"].items() if k.startswith("test/")})
    run("render", "latest", "di.wav", "again.wav")  # of the last training, not of the test
    info = json.loads((Path(tested["folder"]) / "info.json").read_text())
    assert info["tested"] == answer[0]["id"]  # and no path of this machine
    recorded = json.loads((Path(tested["folder"]) / "run.json").read_text())["artifacts"]
    assert {name.partition("/")[0] for name in recorded} == {"test.json", "pictures", "audio"}
    assert [row["command"] for row in json.loads(run("runs", "--json").stdout)].count("test") == 1


def test_two_recordings_use_the_default_preset_unless_a_model_is_set(pair):
    small = ["model.channel_width=3", "train.max_steps=16", "train.validate_every=16", "data.batch_size=2"]
    run("train", "--dry", "di.wav", "--wet", "amp.wav", *(option for setting in small for option in ("--set", setting)))
    model = json.loads(run("runs", "show", "latest", "--json").stdout)["config"]["model"]
    assert (model["name"], model["channel_width"]) == ("nablafx-models/tcn", 3)


def test_a_stereo_file_is_rendered_channel_by_channel_and_resampled(pair):
    options = [option for setting in SMALL for option in ("--set", setting)]
    run("train", "--dry", "di.wav", "--wet", "amp.wav", *options)
    dry = soundfile.read("di.wav")[0]
    soundfile.write(
        "stereo.wav", torch.stack([torch.tensor(dry), torch.zeros(len(dry))], 1).numpy(), RATE, subtype="FLOAT"
    )
    run("render", "latest", "di.wav", "mono-out.wav")
    run("render", "latest", "stereo.wav", "stereo-out.wav")
    stereo = soundfile.read("stereo-out.wav")[0]
    assert abs(stereo[:, 0] - soundfile.read("mono-out.wav")[0]).max() < 1e-6
    soundfile.write("slow.wav", dry[::2], RATE // 2, subtype="FLOAT")
    result = run("render", "latest", "slow.wav", "slow-out.wav")
    assert "resampled" in result.stderr
    assert soundfile.info("slow-out.wav").frames == len(dry)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "Give an experiment"),
        (["train", "--dry", "di.wav"], "--dry and --wet"),
        (["train", "--resume", "x", "--minutes", "3"], "--resume continues a run"),
        (["render", "latest", "di.wav", "out.wav", "--control", "drive"], "name=value"),
    ],
)
def test_wrong_usage(pair, arguments, message):
    assert message in run(*arguments, code=2).stderr


def test_data_shows_recordings_and_knobs(pair):
    text = run("data", "pair", "dry=di.wav", "wet=amp.wav").stdout
    assert "48000 Hz" in text
    assert "100" in text
    described = json.loads(run("data", "pair", "dry=di.wav", "wet=amp.wav", "--json").stdout)
    assert {row["part"] for row in described["recordings"]} == {"train", "validation", "test"}
    assert {(row["take"], *row["channels"], row["offset"]) for row in described["recordings"]} == {("amp", 1, 1, 0)}


def test_show_prints_the_learned_parameters_of_a_bundle(tmp_path):
    chain = [
        {"name": "gain", "fixed": {"gain_db": 6.0}},
        {"name": "tanh"},
        {"name": "dc_offset", "controller": "static"},
    ]
    save_bundle(build("model", {"name": "graybox", "processors": chain}), tmp_path / "chain.nfx", {"device": "TS9"})
    shown = json.loads(run("show", tmp_path / "chain.nfx", "--json").stdout)
    assert shown["info"] == {"device": "TS9"}
    gain, tanh, offset = shown["learned"]["stages"]
    assert shown["learned"]["knobs"] == ""
    assert gain == {"stage": "1 gain (fixed)", "parameter": "gain_db", "value": 6.0, "unit": "dB"}
    assert tanh == {"stage": "2 tanh", "weights": 0}
    assert -2 < offset["value"] < 2
    text = run("show", tmp_path / "chain.nfx").stdout
    assert "device: TS9" in text
    assert re.search(r"^1 gain \(fixed\) +gain_db +6 dB$", text, re.MULTILINE)
    assert re.search(r"^2 tanh +nothing to learn$", text, re.MULTILINE)


def test_learned_parameters_are_shown_for_given_knobs_and_with_ranges_in_the_test(tmp_path):
    stages = [
        {"name": "biquad", "type": "lowshelf", "controller": "static_cond", "fixed": {"q": 0.7}},
        {"name": "gain", "controller": {"name": "reference.toys:Swell"}},
    ]
    knobs = (
        Control("drive", 0, 10, "dB", default=5),
        Control("mode", positions=("normal", "bright"), default="bright"),
    )
    model = build("model", {"name": "graybox", "processors": stages}, controls=knobs)
    seen = [
        {
            "stage": "1 low shelf (static conditional)",
            "input": [-1, 1],
            "parameters": {"gain_db": None, "q": [0.7, 0.7]},
        },
        {"stage": "2 gain (swell)", "input": [-1, 1], "parameters": {"gain_db": [-3.0, 4.5]}},
    ]
    save_bundle(model, tmp_path / "chain.nfx", {"stages": seen})
    show = ["show", tmp_path / "chain.nfx"]
    shown = json.loads(run(*show, "--json", "-c", "drive=10", "-c", "mode=bright").stdout)
    assert shown["info"] == {}
    assert shown["learned"]["knobs"] == "drive 10 dB, mode bright"
    expected = {one.parameter: one.value for one in describe(model, torch.ones(2)) if one.index == 0}
    default = {one.parameter: one.value for one in describe(model) if one.index == 0}
    assert {row["parameter"]: row["value"] for row in shown["learned"]["stages"][:3]} == pytest.approx(expected)
    assert expected["cutoff_hz"] != default["cutoff_hz"]
    assert shown["learned"]["stages"][3]["value"] is None
    assert [row.get("seen") for row in shown["learned"]["stages"]] == [None, None, [0.7, 0.7], [-3.0, 4.5]]
    lines = run(*show).stdout.partition("With drive 5 dB, mode bright:\n")[2].splitlines()
    assert lines[0].split("  ")[0] == "STAGE"
    columns = [lines[0].index(name) for name in ("PARAMETER", "VALUE", "IN THE TEST")]
    cells = [[line[a:b].strip() for a, b in zip([0, *columns], [*columns, None], strict=True)] for line in lines[1:]]
    assert cells[2] == ["", "q", "0.7", "0.7"]
    assert cells[3] == ["2 gain (swell)", "gain_db", "follows the audio", "−3 to 4.5 dB"]
    assert "has no control 'drvie'. Did you mean 'drive'?" in str(run(*show, "-c", "drvie=1", code=1).exception)
    assert "'tanh' is a component's name" in run("show", "tanh", "-c", "drive=1", code=2).stderr


def test_a_device_file_is_written_once(tmp_path):
    simulated = ["data", "simulated", f"path={tmp_path / 'data'}", "seconds=2", "num_settings=2"]
    run(*simulated)
    device = ["data", "tonetwist", f"path={tmp_path / 'data'}", "device=diode_clipper", "--write-device-file"]
    written = tmp_path / "data/diode_clipper/device.yaml"
    text = written.read_text()
    result = CliRunner().invoke(cli, device)
    assert "exists" in str(result.exception)
    written.unlink()
    run(*device)
    assert "minimum" in written.read_text() and written.read_text() != text


def test_quickstart_simulates_trains_tests_and_renders(tmp_path, monkeypatch):
    """Run quickstart as a user does, with less data."""
    monkeypatch.chdir(tmp_path)
    whole = quickstart.sections

    def small(folder, minutes):
        sections = whole(folder, minutes)
        sections["data"] |= {"seconds": 2.0, "num_settings": 2}
        return sections

    monkeypatch.setattr(quickstart, "sections", small)
    said = run("quickstart", "--minutes", 0.05)
    places = {line.split()[0]: line.split(maxsplit=1)[1] for line in said.stdout.splitlines()}
    assert {"Run", "Test", "Model", "Pictures", "Audio", "Dry", "Rendered", "Again"} <= set(places)
    for name in ("Model", "Pictures", "Audio", "Dry"):
        assert (tmp_path / places[name]).exists(), name
    rendered = [soundfile.read(tmp_path / name)[0] for name in places["Rendered"].split(", ")]
    assert len(rendered) == 3
    assert len({len(audio) for audio in rendered}) == 1
    assert abs(rendered[0] - rendered[2]).max() > 1e-3  # the knob changes the output
    again = run("config", "quickstart/experiment.yaml").stdout
    assert "diode_clipper" in again
