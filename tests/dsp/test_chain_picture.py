"""The picture of a chain: its lines against independent formulas."""

from __future__ import annotations

import logging
import warnings
from itertools import pairwise

import numpy as np
import pytest
import scipy.signal
import torch
from matplotlib.figure import Figure

from nablafx_core.controls import Control
from nablafx_core.data.sources import ArraySource
from nablafx_core.evaluation import test_folder as scoring
from nablafx_core.graybox import GrayBox, Stage, describe
from nablafx_core.graybox.observing import observed_ranges
from nablafx_core.interfaces import Processor, Recording
from nablafx_core.pictures.chain import draw_chain
from nablafx_core.registry.building import build
from nablafx_core.scoring.responses import frequency_response, transfer_curve
from nablafx_dsp.controllers.static import Static
from nablafx_dsp.processors.biquad import TYPES, Biquad
from nablafx_dsp.processors.memoryless import Gain
from nablafx_dsp.processors.nonlinearities import Tanh
from nablafx_dsp.processors.second_order_sections import WITH_GAIN
from reference.parts import Ahead
from reference.toys import Swell

pytestmark = [pytest.mark.slow, pytest.mark.pictures]

RATE = 16000
KNOBS = (Control("drive", 0, 10, "dB"), Control("mode", positions=("normal", "bright")))


@pytest.fixture
def figures(monkeypatch):
    """Keep the figures that are written."""
    written, save = [], Figure.savefig

    def keep(figure, target, **arguments):
        written.append(figure)
        save(figure, target, **arguments)

    monkeypatch.setattr(Figure, "savefig", keep)
    return written


def recording(name="riff", controls=(), peak=0.8, time=RATE):
    """Return a tone that grows from silence to its peak."""
    seconds = torch.arange(time) / RATE
    dry = peak * seconds / seconds[-1] * torch.sin(2 * torch.pi * 220 * seconds)
    return Recording(name, ArraySource(dry), ArraySource(dry), "riff", controls, "test", stop=time)


def drawn(figures, model, recordings, path):
    """Return the subfigures of a chain's picture: the header and one for each stage."""
    with observed_ranges(model) as seen, torch.no_grad():
        for one in recordings:
            controls = torch.tensor([one.controls]) if one.controls else None
            model(one.dry.read(0, one.stop).reshape(1, 1, -1), controls)
    draw_chain(model, recordings, seen, path)
    assert path.is_file()
    return figures[-1].subfigs


def texts(part):
    return [text.get_text() for axis in part.axes for text in axis.texts]


def panels(part):
    return [axis for axis in part.axes if axis.lines]


def scipy_response(kind, parameters, frequencies):
    """Return freqz of the cookbook's analogue prototype under scipy's bilinear transform."""
    q, gain = parameters["q"], 10 ** (parameters.get("gain_db", 0.0) / 40)
    wide = np.sqrt(gain) / q
    above, below = {
        "lowpass": ([0, 0, 1], [1, 1 / q, 1]),
        "highpass": ([1, 0, 0], [1, 1 / q, 1]),
        "peaking": ([1, gain / q, 1], [1, 1 / (gain * q), 1]),
        "lowshelf": ([gain, gain * wide, gain * gain], [gain, wide, 1]),
        "highshelf": ([gain * gain, gain * wide, gain], [1, wide, gain]),
    }[kind]
    powers = (2 * RATE * np.tan(np.pi * parameters["cutoff_hz"] / RATE)) ** -np.array([2.0, 1.0, 0.0])
    return scipy.signal.freqz(*scipy.signal.bilinear(above * powers, below * powers, RATE), frequencies, fs=RATE)[1]


def biquad(kind, **arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about cutoffs above 0.49 of this sample rate
        return Biquad(kind, RATE, **arguments)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(("cutoff", "q"), [(20.0, 10.0), (20.0, 0.1), (3000.0, 2.0)])
def test_a_response_is_that_of_scipy(kind, cutoff, q):
    parameters = {"cutoff_hz": cutoff, "q": q} | ({"gain_db": -11.0} if kind in WITH_GAIN else {})
    frequencies, found, phase = frequency_response(biquad(kind), [parameters, {**parameters, "q": 1.0}])
    assert 10 <= frequencies[0] < 10.3 and frequencies[-1] == RATE / 2
    assert (np.diff(np.log(frequencies[50:])) < 0.03).all()
    for row, quality in enumerate((q, 1.0)):
        exact = scipy_response(kind, {**parameters, "q": quality}, frequencies)
        heard = abs(exact) > 1e-7
        np.testing.assert_allclose(20 * np.log10(abs(found[row] / exact)[heard]), 0, atol=0.01)
        turned = (phase[row] - np.degrees(np.angle(exact)))[heard]
        np.testing.assert_allclose(turned - 360 * np.round(turned / 360), 0, atol=0.1)
        assert abs(phase[row, 0]) <= 180


def test_the_declared_latency_is_removed_from_the_phase():
    frequencies, found, phase = frequency_response(Ahead(RATE).double(), [{"amount": 0.5}])
    z = np.exp(2j * np.pi * frequencies / RATE)
    np.testing.assert_allclose(found[0], 1 + 0.5 * z + 0.3 * z**3, atol=1e-9)
    np.testing.assert_allclose(np.exp(1j * np.radians(phase[0])), found[0] / abs(found[0]), atol=1e-9)


class Late(Processor):
    """y[t] = -x[t - 40]"""

    def forward(self, audio, parameters, state=None):
        return -torch.nn.functional.pad(audio, (40, 0))[..., :-40], {}


def test_the_phase_is_unwrapped():
    frequencies, _, phase = frequency_response(Late(RATE), [{}])
    turned = -180 - 360 * 40 * frequencies / RATE
    np.testing.assert_allclose(phase[0], turned - 360 * np.round(turned[0] / 360), atol=1e-6)


def test_a_transfer_curve_is_the_function():
    x, y = transfer_curve(Gain(RATE), [{"gain_db": 6.0}, {"gain_db": -6.0}], -1, 3)
    np.testing.assert_allclose(y, np.outer([10**0.3, 10**-0.3], x))
    assert (x[0], x[-1]) == (-1, 3)


def test_a_static_chain_has_a_panel_for_each_stage_with_its_values(figures, tmp_path):
    torch.manual_seed(0)
    stages = [
        Stage(Gain(RATE), Static(0), {"gain_db": 12.0}),
        Stage(biquad("peaking"), Static(3)),
        Stage(Tanh(RATE), Static(0)),
        Stage(Gain(RATE), Static(1)),
    ]
    model = GrayBox.from_stages(stages, RATE)
    learned = {(one.index, one.parameter): one.value for one in describe(model)}
    header, *parts = drawn(figures, model, [recording()], tmp_path / "chain.png")
    assert header.get_suptitle() == "The chain at 16,000 Hz"
    assert texts(header) == ["recording riff, 0.00 to 1.00 s"]
    assert [part.get_suptitle() for part in parts] == [
        "1 gain (fixed)",
        "2 peaking filter (static)",
        "3 tanh",
        "4 gain (static)",
    ]
    assert texts(parts[0]) == ["gain 12 dB"]
    assert [len(panels(part)) for part in parts] == [0, 2, 1, 0]
    (gain, cutoff, q) = (learned[1, name] for name in ("gain_db", "cutoff_hz", "q"))
    assert texts(parts[1]) == [f"gain {gain:.4g} dB, cutoff {cutoff:.4g} Hz, q {q:.4g}".replace("-", "−")]
    magnitude, phase = panels(parts[1])
    for axis, label in ((magnitude, "magnitude in dB"), (phase, "phase in degrees")):
        assert (axis.get_ylabel(), axis.get_xlabel(), axis.get_xscale()) == (label, "frequency in Hz", "log")
        assert axis.get_xlim() == (10, RATE / 2)
        assert len(axis.lines) == 1
    frequencies, levels = magnitude.lines[0].get_data()
    exact = scipy_response("peaking", {"gain_db": gain, "cutoff_hz": cutoff, "q": q}, frequencies)
    np.testing.assert_allclose(levels, 20 * np.log10(abs(exact)), atol=0.01)
    np.testing.assert_allclose(phase.lines[0].get_ydata(), np.degrees(np.angle(exact)), atol=0.1)
    (curve,) = panels(parts[2])
    x, y = curve.lines[-1].get_data()
    np.testing.assert_allclose(y, np.tanh(x), atol=1e-12)
    reached = 0.8 * 10 ** (12 / 20)  # beyond full scale, and including the gain of the filter
    assert x[-1] > 1.2 and x[-1] == pytest.approx(reached * 10 ** (gain / 20), rel=0.6)
    assert curve.get_xlim() == pytest.approx((x[0], x[-1]))
    (legend, _) = [text.get_text() for text in curve.get_legend().get_texts()]
    assert legend.startswith("range in the test,\n−")


def test_stages_that_depend_on_knobs_are_drawn_at_three_settings(figures, tmp_path):
    torch.manual_seed(0)
    shelf = {"name": "biquad", "type": "lowshelf", "controller": {"name": "static_cond", "hidden_size": 4}}
    sections = [shelf, {"name": "gain", "controller": "static"}, {"name": "tanh"}]
    model = build("model", {"name": "graybox", "processors": sections, "sample_rate": RATE}, controls=KNOBS)
    settings = [(drive, mode) for drive in (0.0, 0.5, 1.0) for mode in (0.0, 1.0)]
    recordings = [recording(f"riff {n}", setting, time=RATE // 4) for n, setting in enumerate(settings)]
    header, eq, gain, tanh = drawn(figures, model, recordings, tmp_path / "chain.png")
    assert [text.partition(" (")[0] for text in texts(header)] == [
        "drive 0 dB, mode normal",
        "drive 5 dB, mode normal",
        "drive 10 dB, mode bright",
    ]
    magnitude, _ = panels(eq)
    told = [(text.get_text(), text.get_color()) for text in eq.axes[0].texts]
    colours = [text.get_color() for text in header.axes[0].texts]
    assert len(set(colours)) == 3
    assert [line.get_color() for line in magnitude.lines] == colours == [colour for _, colour in told]
    for line, (words, _), setting in zip(magnitude.lines, told, (settings[0], settings[2], settings[5]), strict=True):
        learned = {one.parameter: one.value for one in describe(model, torch.tensor(setting)) if one.index == 0}
        exact = scipy_response("lowshelf", learned, line.get_xdata())
        np.testing.assert_allclose(line.get_ydata(), 20 * np.log10(abs(exact)), atol=0.01)
        assert f"q {learned['q']:.4g}" in words
    assert len(texts(gain)) == 1
    assert len(panels(tanh)[0].lines) == 2  # the curve, and output = input


def test_moving_parameters_are_drawn_over_time_and_at_three_positions(figures, tmp_path):
    stages = [Stage(biquad("lowshelf"), Swell(), {"cutoff_hz": 200.0, "q": 0.7}), Stage(Gain(RATE), Swell())]
    dry = recording(time=6 * RATE)
    _, shelf, gain = drawn(figures, GrayBox.from_stages(stages, RATE), [dry], tmp_path / "chain.png")
    level = dry.dry.audio[2 * RATE :].abs().numpy()  # the loudest 4 s
    assert texts(gain) == ["gain −32 to " + f"{-32 + 64 * level.max():.4g} dB"]
    assert len(panels(gain)) == 1
    seconds, values = panels(gain)[0].lines[0].get_data()
    np.testing.assert_allclose(values, -32 + 64 * level, atol=1e-5)
    np.testing.assert_allclose(seconds, 2 + np.arange(4 * RATE) / RATE)
    assert panels(gain)[0].get_ylabel() == "gain in dB"
    envelope = gain.axes[-1]
    assert (envelope.get_ylabel(), envelope.get_xlabel(), len(envelope.collections)) == ("dry", "time in s", 1)
    magnitude, phase, over_time = panels(shelf)
    assert over_time.get_ylabel() == "gain in dB"
    sorted_gain = np.sort(-12 + 24 * level)
    legend = [text.get_text() for text in phase.get_legend().get_texts()]
    for line, share, text in zip(magnitude.lines, (0.05, 0.5, 0.95), legend, strict=True):
        now = sorted_gain[round(share * (4 * RATE - 1))]
        assert text.endswith(f"gain {now:.4g} dB".replace("-", "−"))
        exact = scipy_response("lowshelf", {"gain_db": now, "cutoff_hz": 200.0, "q": 0.7}, line.get_xdata())
        np.testing.assert_allclose(line.get_ydata(), 20 * np.log10(abs(exact)), atol=0.01)


def test_stages_that_follow_the_audio_are_drawn_once_or_for_each_setting_of_the_knobs(figures, tmp_path):
    class Turned(Swell):
        def forward(self, audio, controls=None, state=None):
            return super().forward(audio)[0] * (0.5 + controls.mean(1)[:, None, None] / 2), {}

    wide = {"max_cutoff_hz": 20_000.0}
    stages = [Stage(biquad("lowpass", **wide), Swell(2)), Stage(biquad("lowpass", **wide, max_q=0.2), Turned(2, 2))]
    settings = [(0.0, 0.0), (0.5, 1.0), (1.0, 1.0)]
    recordings = [recording(f"riff {n}", one, time=RATE // 4) for n, one in enumerate(settings)]
    model = GrayBox.from_stages(stages, RATE, KNOBS)
    header, alone, turned = drawn(figures, model, recordings, tmp_path / "chain.png")
    assert [len(axis.lines) for axis in panels(alone)] == [3, 3, 1, 1]
    assert [len(axis.lines) for axis in panels(turned)] == [9, 9, *[1] * 6]
    over_time = panels(turned)[2:5]
    assert [axis.get_title(loc="left") for axis in over_time] == [
        "drive 0 dB, mode normal",
        "drive 5 dB, mode bright",
        "drive 10 dB, mode bright",
    ]
    colours = [text.get_color() for text in header.axes[0].texts]
    assert [axis.lines[0].get_color() for axis in over_time] == colours
    assert [line.get_color() for line in panels(turned)[0].lines] == [colour for colour in colours for _ in range(3)]
    legend = panels(turned)[1].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["low cutoff", "median cutoff", "high cutoff"]
    level = recordings[0].dry.audio.abs().double().numpy()
    for axis, share in zip(over_time, (0.5, 0.875, 1.0), strict=True):
        cutoff = 2000 * 10 ** (level * share)
        np.testing.assert_allclose(axis.lines[0].get_ydata(), cutoff)
        assert (axis.get_yscale(), over_time[0].get_ylabel()) == ("log", "cutoff in Hz")


def test_nothing_overlaps_in_a_long_chain(figures, tmp_path):
    kinds = ["highpass", "lowshelf", "peaking", "highshelf", "lowpass"]
    stages = [Stage(biquad(kind), Static(3 if kind in WITH_GAIN else 2)) for kind in kinds]
    stages[2:2] = [Stage(Tanh(RATE), Static(0)), Stage(Gain(RATE), Swell())]
    stages += [
        Stage(Tanh(RATE), Static(0)),
        Stage(biquad("peaking", max_q=0.4), Swell(3)),
        Stage(Gain(RATE), Static(1)),
    ]
    parts = drawn(figures, GrayBox.from_stages(stages, RATE), [recording()], tmp_path / "chain.png")
    renderer = figures[-1].canvas.get_renderer()
    boxes = []
    for part in parts:
        boxes.append(part._suptitle.get_window_extent(renderer))
        boxes += [axis.get_tightbbox(renderer) for axis in part.axes if axis.axison]
        boxes += [text.get_window_extent(renderer) for axis in part.axes if not axis.axison for text in axis.texts]
    width, height = figures[-1].canvas.get_width_height()
    for number, box in enumerate(boxes):
        assert box.x0 >= -1 and box.x1 <= width + 1 and box.y0 >= -1 and box.y1 <= height + 1
        for other in boxes[number + 1 :]:
            assert not _overlap(box, other)
    for axis in (axis for part in parts for axis in part.axes if axis.axison):
        for ruler, (low, high) in ((axis.xaxis, axis.get_xlim()), (axis.yaxis, axis.get_ylim())):
            shown = [tick.label1 for tick in ruler.get_major_ticks() if low <= tick.get_loc() <= high]
            extents = [label.get_window_extent(renderer) for label in shown if label.get_visible()]
            assert not any(_overlap(one, other) for one, other in pairwise(extents))


def _overlap(box, other):
    """Return True if two boxes share more than a pixel."""
    wide, high = min(box.x1, other.x1) - max(box.x0, other.x0), min(box.y1, other.y1) - max(box.y0, other.y0)
    return min(wide, high) > 1


@pytest.mark.parametrize("fails", [False, True])
def test_a_test_draws_the_chain_and_survives_a_picture_that_fails(tmp_path, monkeypatch, caplog, fails):
    model = GrayBox.from_stages([Stage(Gain(RATE), Swell()), Stage(Tanh(RATE), Static(0))], RATE)
    if fails:
        monkeypatch.setattr(scoring, "draw_chain", lambda *_: 1 / 0)
    with caplog.at_level(logging.WARNING):
        evaluation = scoring.score(model, [recording()], {"esr": build("metric", "esr")}, tmp_path)
    assert (tmp_path / "test.json").is_file()
    assert (tmp_path / "pictures/riff.png").is_file()
    assert (tmp_path / "pictures/chain.png").is_file() is not fails
    assert ("chain.png was not drawn (ZeroDivisionError: division by zero)" in caplog.text) is fails
    gain, tanh = evaluation.stages
    assert gain["input"][1] == pytest.approx(0.8, rel=0.01)
    assert gain["parameters"]["gain_db"] == pytest.approx([-32, -32 + 64 * 0.8], rel=0.01)
    assert tanh["parameters"] == {}
    assert not model.training or evaluation.split["esr"] > 0
