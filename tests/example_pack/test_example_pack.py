"""The example pack is installed with pip and used from the command line and from experiment files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

import nablafx_core as nfx
from nablafx_core.testing import laws

pytestmark = pytest.mark.slow

PACK = Path(__file__).parent
PROVIDED = {
    "models": ["soft-tone"],
    "processors": ["tremolo"],
    "controllers": ["lfo"],
    "datasets": ["bursts"],
    "devices": ["guitar-circuit"],
    "losses": ["framed-esr"],
    "metrics": ["snr"],
    "importers": ["soft-tone"],
    "exporters": ["soft-tone"],
    "observers": ["event-log"],
    "commands": ["soft-tone"],
    "presets": ["soft-tone-dark"],
    "bundles": ["warm"],
}


def test_it_is_listed_with_all_its_components(elsewhere):
    packs = {pack["name"]: pack for pack in json.loads(elsewhere.nablafx("packs", "--json"))}
    assert packs["nablafx-example"] == {
        "name": "nablafx-example",
        "version": "0.1.0",
        "provides": PROVIDED,
        "problems": [],
        "warnings": [],
    }
    listed = {(row["kind"], row["name"]) for row in json.loads(elsewhere.nablafx("list", "--json"))}
    assert {("controller", "lfo"), ("observer", "event-log"), ("bundle", "warm")} <= listed
    assert "soft-tone  Show what a SoftTone has learned." in elsewhere.nablafx("--help")


def test_components_of_one_name_are_shown_together(elsewhere):
    shown = elsewhere.nablafx("show", "soft-tone")
    heads = [line.split(":")[0] for line in shown.splitlines() if ": " in line and not line.startswith(" ")]
    assert [head for head in heads if head.endswith(" soft-tone")] == [
        f"{kind} soft-tone" for kind in ("model", "importer", "exporter", "command")
    ]
    assert "cutoff_hz" in shown and "indent" in shown


def test_the_environment_has_no_network(elsewhere):
    """The other tests of this environment thus work offline."""
    refused = elsewhere.python("-c", "import socket; socket.create_connection(('127.0.0.1', 9))")
    assert "this environment has no network" in refused.stderr


@pytest.fixture(scope="module")
def trained(elsewhere):
    events = elsewhere.cwd / "trained.jsonl"
    options = (str(PACK / "experiment.yaml"), "--json")
    result = json.loads(elsewhere.nablafx("train", *options, NABLAFX_EXAMPLE_EVENTS=str(events)))
    return result, [json.loads(line) for line in events.read_text().splitlines()]


class TestTraining:
    """One experiment with the pack's dataset, model, losses, metric, observer and callback."""

    def test_every_default_is_filled_in(self, elsewhere):
        merged = yaml.safe_load(elsewhere.nablafx("config", str(PACK / "experiment.yaml")))
        assert merged["model"] == {"name": "nablafx-example/soft-tone", "cutoff_hz": 1000.0, "octaves": 1.0}
        assert merged["metrics"][1] == {"name": "nablafx-example/snr", "enough_db": 40.0}

    def test_it_learns_the_effect_of_the_data(self, elsewhere, trained):
        """The model has the form of the effect, so that a short training is enough."""
        result, _ = trained
        assert result["test"]["esr"] < 1e-4
        assert result["test"]["snr"] == pytest.approx(-10 * np.log10(result["test"]["esr"]), abs=1e-6)
        learned = json.loads(elsewhere.nablafx("soft-tone", result["id"], "--json"))
        assert learned["drive"] == pytest.approx(4, rel=0.02)
        assert learned["cutoff_hz"] == pytest.approx(500, rel=0.02)
        assert learned["knobs"] == {"tone": pytest.approx(3, abs=0.05)}

    def test_it_stops_when_the_metric_is_reached(self, trained):
        """The callback takes the limit from the experiment, which allows 500 steps."""
        result, _ = trained
        assert result["validation"]["snr"] >= 40
        assert result["validation"]["step"] < 500

    def test_the_observer_is_notified(self, trained):
        result, events = trained
        assert [event["event"] for event in events] == ["started", "completed"]
        assert {event["run"] for event in events} == {result["id"]}
        assert events[1]["result"]["test/esr"] == result["test"]["esr"]


def test_a_gray_box_experiment_uses_its_processor_and_its_controller(elsewhere):
    result = json.loads(elsewhere.nablafx("train", str(PACK / "graybox.yaml"), "--json"))
    shown = json.loads(elsewhere.nablafx("show", result["bundle"], "--json"))
    assert shown["packs"]["nablafx-example"] == "0.1.0"
    rate, depth = shown["learned"]["stages"]
    assert (rate["stage"], rate["parameter"], rate["value"], rate["unit"]) == ("1 tremolo (LFO)", "rate_hz", 4.0, "Hz")
    assert (depth["parameter"], depth["value"]) == ("depth", None)
    assert rate["seen"] == [4.0, 4.0]
    assert 0 < depth["seen"][0] < depth["seen"][1] < 1  # in the test, it swung
    assert (elsewhere.cwd / result["folder"] / "pictures/chain.png").is_file()
    model = nfx.load(elsewhere.cwd / result["bundle"])
    assert (model.controllers[0].depth - 1).abs() > 0.01  # it has learned, from 1
    assert model.controllers[0].sample_rate == 16000  # the data's
    laws.stream_equals_offline(model, [1, 300, 77, 1000])


def test_its_device_is_recorded(elsewhere):
    settings = ("path=guitar", "device=guitar-circuit", "seconds=2", "num_settings=2", "sample_rate=16000")
    data = json.loads(elsewhere.nablafx("data", "simulated", *settings, "--json"))
    assert [control["name"] for control in data["controls"]] == ["tone"]
    assert {tuple(row["controls"]) for row in data["recordings"]} == {(0.0,), (0.5,), (1.0,)}
    recordings = elsewhere.cwd.glob("guitar/guitar-circuit/test/*/*.wav")
    open_, shut = (highs(path) for path in sorted(recordings, reverse=True) if "T050" not in path.name)
    assert shut < 0.1 * open_


def highs(path: Path) -> float:
    """Power above 3 kHz."""
    audio, sample_rate = soundfile.read(path)
    spectrum = np.abs(np.fft.rfft(audio)) ** 2
    return float(spectrum[np.fft.rfftfreq(len(audio), 1 / sample_rate) > 3000].sum())


@pytest.fixture(scope="module")
def rendered(elsewhere):
    dry = 0.5 * np.random.default_rng(0).standard_normal(16000).clip(-2, 2)
    soundfile.write(elsewhere.cwd / "in.wav", dry, 16000, subtype="FLOAT")
    elsewhere.nablafx("render", "example/warm", "in.wav", "out.wav", "-c", "tone=2.5")
    return dry, soundfile.read(elsewhere.cwd / "out.wav")[0]


class TestItsTrainedModel:
    def test_it_renders_what_it_was_trained_on(self, rendered):
        """tanh(4 LP(x)) with the low-pass at 500 Hz 8^0.25, which is what the dataset does."""
        dry, wet = rendered
        pole, low, last = np.exp(-2 * np.pi * 500 * 8**0.25 / 16000), [], 0.0
        for sample in dry:
            last = (1 - pole) * sample + pole * last
            low.append(last)
        error = wet - np.tanh(4 * np.array(low))
        assert np.sum(error**2) < 1e-3 * np.sum(wet**2)

    def test_licence_and_hash_are_shown(self, elsewhere):
        shown = json.loads(elsewhere.nablafx("show", "example/warm", "--json"))
        file = PACK / "src/nablafx_example/bundles/warm.nfx"
        assert (shown["licence"], shown["pack"]) == ("CC0-1.0", "nablafx-example 0.1.0")
        assert shown["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()

    def test_an_exported_and_imported_model_renders_the_same(self, elsewhere, rendered):
        elsewhere.nablafx("export", "example/warm", "-o", "warm.softtone", "--set", "indent=null")
        assert (elsewhere.cwd / "warm.softtone").read_text().startswith('{"format":"soft-tone","version":1,')
        elsewhere.nablafx("import", "warm.softtone", "-o", "again.nfx")
        elsewhere.nablafx("render", "again.nfx", "in.wav", "again.wav", "-c", "tone=2.5")
        np.testing.assert_array_equal(soundfile.read(elsewhere.cwd / "again.wav")[0], rendered[1])
