"""Each component of the example pack against the equations of its documentation."""

from __future__ import annotations

import json
from contextlib import suppress

import numpy as np
import pytest
import scipy.signal
import torch

from nablafx_core.controls import Control
from nablafx_core.data.segments import Segment, stack
from nablafx_core.data.sources import ArraySource
from nablafx_core.errors import ConfigError, DataError
from nablafx_core.evaluation.evaluate import evaluate
from nablafx_core.interfaces import Recording
from nablafx_core.registry.building import build
from nablafx_core.runs.recorder import record
from nablafx_core.scoring.metrics import ESR

pytestmark = pytest.mark.slow


def test_the_filter_is_its_recursion():
    from nablafx_example.one_pole import one_pole

    random = np.random.default_rng(1)
    audio, last = random.standard_normal((2, 777)), random.standard_normal(2)
    cutoff_hz = np.array([[300.0], [5000.0]])
    pole = np.exp(-2 * np.pi * cutoff_hz[:, 0] / 16000)
    expected = [
        scipy.signal.lfilter([1 - a], [1, -a], x, zi=[a * y])[0] for a, x, y in zip(pole, audio, last, strict=True)
    ]
    found = one_pole(*map(torch.from_numpy, (audio, cutoff_hz)), 16000, torch.from_numpy(last))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


def test_the_phase_is_exact_after_an_hour():
    from nablafx_example.phase import phases

    rate_hz, phase = torch.tensor([[3.7123]], dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    for _ in range(3600):
        _, phase = phases(rate_hz, 44100, phase, 44100)
    assert float(phase) == pytest.approx(3600 * 3.7123 % 1, abs=1e-7)


def test_the_tremolo_swings_between_full_and_one_minus_depth():
    effect = build("processor", {"name": "example/tremolo"}, sample_rate=16000)
    parameters = {"rate_hz": torch.tensor([4.0]), "depth": torch.tensor([0.75])}
    gain = effect(torch.ones(1, 1, 16000), parameters)[0][0, 0]
    assert gain[0] == gain[4000] == 1
    assert gain[2000] == pytest.approx(0.25)
    assert gain.mean() == pytest.approx(1 - 0.75 / 2)


TREMOLO = {"name": "example/tremolo"}
SWUNG = {
    "fixed": TREMOLO | {"fixed": {"rate_hz": 5.3, "depth": 0.8}},
    "with a depth that swings": TREMOLO | {"fixed": {"rate_hz": 4.1}, "controller": {"name": "lfo", "rate_hz": 0.7}},
}


@pytest.mark.parametrize("section", SWUNG.values(), ids=SWUNG)
def test_the_tremolo_is_exact_in_each_part_and_in_training(section):
    """On a file that the model rendered, split by time, a model that ignores its position has an ESR above 0.05."""
    rate, time = 16000, 200_000
    model = build("model", {"name": "graybox", "processors": [section]}, sample_rate=rate, controls=[Control("knob")])
    dry, knob = 0.3 * torch.randn(1, 1, time, generator=torch.Generator().manual_seed(0)), torch.tensor([[0.4]])
    with torch.no_grad():
        wet = model(dry, knob)[0]
    whole = Recording("a", ArraySource(dry[0]), ArraySource(wet[0]), "a", (0.4,), stop=time)
    for part in (whole, whole.within(150_000, time, "test"), whole.within(3000, 20_000, "validation")):
        assert evaluate(model, [part], {"esr": ESR()}, warm_up_seconds=0.5).split["esr"] < 1e-10
    batch = stack([Segment(whole, at, at + 9000) for at in (0, 500, 170_000)], context=1000)
    with torch.no_grad():
        prediction = model.offline(batch.dry, batch.controls, batch.start)[..., 1000:]
    assert ESR().value(ESR().statistics(prediction, batch.wet).sum(dim=0)) < 1e-10


def test_the_oscillator_swings_each_parameter_about_its_centre():
    lfo = build("controller", {"name": "lfo", "rate_hz": 3.0}, num_parameters=2, num_controls=2, sample_rate=600)
    with torch.no_grad():
        lfo.centre.copy_(torch.tensor([[0.5], [-1.0]]))
        lfo.depth.copy_(torch.tensor([[1.5], [0.2]]))
        lfo.octaves.copy_(torch.tensor([[2.0], [-1.0]]))
        found = lfo(torch.zeros(1, 1, 600), torch.tensor([[0.5, 0.25]]))[0][0].numpy()
    swing = np.sin(2 * np.pi * 3.0 * 2 ** (2.0 * 0.5 - 0.25) * np.arange(600) / 600)
    expected = [1 / (1 + np.exp(-(0.5 + 1.5 * swing))), 1 / (1 + np.exp(-(-1.0 + 0.2 * swing)))]
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "settings", "told"),
    [
        ("controller", {"name": "lfo", "num_parameters": 1, "rate_hz": 0.0}, "lfo: rate_hz .* 0"),
        ("model", {"name": "soft-tone", "sample_rate": 1000, "cutoff_hz": -1.0}, "soft-tone: cutoff_hz .* -1"),
        ("loss", {"name": "framed-esr", "frame": 0}, "framed-esr: frame .* 0"),
    ],
)
def test_invalid_settings_are_refused(kind, settings, told):
    with pytest.raises(ConfigError, match=told):
        build(kind, settings)


class TestGuitarCircuit:
    @pytest.mark.parametrize("tone", [0.0, 0.1, 1.0])
    def test_it_is_the_circuit(self, tone):
        """The response to a click, against Ohm's law at single frequencies; slow next to the sample rate."""
        rate = 768_000
        click = np.zeros(rate)
        click[0] = 1.0
        found = np.fft.rfft(build("device", "guitar-circuit").render(click, rate, [tone]))
        for hz in (20, 500, 3000, 8000):
            s = 2j * np.pi * hz
            branches = (s * 700e-12, 1 / 500e3, 1 / (tone * 500e3 + 1 / (s * 22e-9)))
            expected = 1 / (1 + (8e3 + s * 4.4) * sum(branches))
            assert abs(found[hz] - expected) < 0.01 * abs(expected)

    def test_the_knob_is_open_by_default(self):
        audio = np.random.default_rng(0).standard_normal(1000)
        device = build("device", "guitar-circuit")
        np.testing.assert_array_equal(device.render(audio, 48000), device.render(audio, 48000, [1.0]))

    @pytest.mark.parametrize(("audio", "controls"), [(np.zeros((2, 10)), [1.0]), (np.zeros(10), [1.0, 0.5])])
    def test_wrong_audio_or_controls_are_refused(self, audio, controls):
        with pytest.raises(DataError, match="guitar-circuit: "):
            build("device", "guitar-circuit").render(audio, 48000, controls)


@pytest.mark.parametrize("time", [1, 99, 100, 250])
def test_the_loss_is_the_mean_over_frames(time):
    random = np.random.default_rng(time)
    prediction, target = random.standard_normal((2, 3, 1, time))
    expected = []
    for p, t in zip(prediction[:, 0], target[:, 0], strict=True):
        starts = range(0, time, 100)
        energies = [(np.sum((p - t)[i : i + 100] ** 2), np.sum(t[i : i + 100] ** 2)) for i in starts]
        expected.append(np.mean([e / (s + 100 * 1e-4) for e, s in energies]))
    loss = build("loss", {"name": "framed-esr", "frame": 100, "floor_db": -40.0})
    found = loss(torch.from_numpy(prediction), torch.from_numpy(target))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_the_metric_is_the_error_to_signal_ratio_in_db():
    random = torch.Generator().manual_seed(0)
    target = torch.randn(4, 1, 1000, generator=random)
    prediction = target + 0.1 * torch.randn(4, 1, 1000, generator=random)
    snr = build("metric", "snr")
    esr = ESR().value(ESR().statistics(prediction, target).sum(dim=0))
    assert snr.value(snr.statistics(prediction, target).sum(dim=0)) == pytest.approx(-10 * np.log10(esr))
    assert snr.value(torch.zeros(2, dtype=torch.float64)) == 0
    assert not snr.lower_is_better


class TestCallbacks:
    def of(self, *metrics):
        from nablafx_example.callback import callbacks_for

        return [(callback.figure, callback.enough) for callback in callbacks_for({"metrics": list(metrics)})]

    def test_only_an_experiment_that_requests_a_callback_gets_one(self):
        asked = {"name": "nablafx-example/snr", "enough_db": 20.0}
        assert self.of({"name": "esr"}, asked) == [("snr", 20.0)]
        assert (
            self.of(
                {"name": "esr"},
                {"name": "nablafx-example/snr", "enough_db": None},
                {"name": "other/snr", "enough_db": 20.0},
            )
            == []
        )


class TestEventLog:
    def events(self, tmp_path, monkeypatch, body):
        monkeypatch.setenv("NABLAFX_EXAMPLE_EVENTS", str(tmp_path / "set.jsonl"))
        observer = build("observer", "event-log")
        with suppress(ValueError, KeyboardInterrupt):
            record("train", {}, tmp_path / "runs", body, observers=[observer])
        return [json.loads(line) for line in (tmp_path / "set.jsonl").read_text().splitlines()]

    def test_two_runs_in_one_file(self, tmp_path, monkeypatch):
        self.events(tmp_path, monkeypatch, lambda run: run.summary({"esr": 0.5}))
        events = self.events(tmp_path, monkeypatch, lambda run: None)
        assert [event["event"] for event in events] == ["started", "completed"] * 2
        assert [event["run"] for event in events][::2] == [event["run"] for event in events][1::2]
        assert len({event["run"] for event in events}) == 2
        assert events[1]["result"] == {"esr": 0.5}

    def test_a_failed_and_an_interrupted_run(self, tmp_path, monkeypatch):
        def fails(run):
            raise ValueError("no luck")

        def stops(run):
            raise KeyboardInterrupt

        failed = self.events(tmp_path, monkeypatch, fails)[-1]
        assert (failed["event"], failed["cause"]) == ("failed", "ValueError: no luck")
        assert self.events(tmp_path, monkeypatch, stops)[-1]["event"] == "interrupted"
