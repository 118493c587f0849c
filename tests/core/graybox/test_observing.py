"""Signals and parameters in a chain are observed exactly, and stages have readable titles."""

from __future__ import annotations

import pytest
import torch

from nablafx_core.controls import Control, Parameter
from nablafx_core.data.sources import ArraySource
from nablafx_core.graybox import GrayBox, Stage
from nablafx_core.graybox.description import ranges_as_rows
from nablafx_core.graybox.naming import called, in_words, labelled_stages, quantity, setting_in_words, title_of
from nablafx_core.graybox.observing import observed_ranges, parameters_over_time
from nablafx_core.interfaces import Recording
from nablafx_core.pictures.excerpts import excerpts
from nablafx_core.playing.streaming import Streamer
from reference.parts import Ahead, Envelope, Leaky, Setting
from reference.tremolo import Level, Swinging, gain

#: Parts that look ahead and controllers that lag, of the chain and of their processors.
PARTS = [
    (Ahead, Envelope, {"lag": 0}),
    (Leaky, Envelope, {"lag": 9, "reads": "processor"}),
    (Ahead, Setting, {}),
    (Leaky, Envelope, {"lag": 1}),
]
KNOBS = (Control("amount"),)


def built(parts=PARTS, knobs=KNOBS):
    stages = [Stage(make(), drive(**arguments, num_controls=len(knobs))) for make, drive, arguments in parts]
    return GrayBox.from_stages(stages, controls=knobs).double().eval()


def by_hand(model, audio, controls):
    """Return the input and the parameters of each stage for the whole file, computed stage by stage."""
    given, signal = [], audio
    for stage in model.stages:
        heard = signal if stage.controller.reads == "processor" else audio
        values = stage.values(stage.controller(heard, controls)[0])
        given.append((signal, values))
        signal = stage.processor(signal, values)[0]
    return given


@torch.no_grad()
def test_parameters_are_aligned_with_the_samples_of_the_file():
    model, controls = built(), torch.tensor([[0.3]], dtype=torch.float64)
    audio = torch.rand(1, 1, 60, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    curves = parameters_over_time(model, audio, controls)
    assert list(curves) == ["0", "1", "2", "3"]
    for (_, values), found, moving in zip(by_hand(model, audio, controls), curves.values(), (1, 1, 0, 1), strict=True):
        (name,) = values
        assert found[name].ndim == moving
        torch.testing.assert_close(found[name], values[name][0], rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("channels", [1, 2])
def test_an_excerpt_shows_an_oscillator_at_its_position_in_the_file(channels):
    """The excerpt is the loudest part of a long recording whose file began 77 samples earlier; also with a key."""
    stages = [Stage(Level(latency=5), Swinging())]
    model = GrayBox.from_stages(stages, sample_rate=1000, key_input=channels == 2).double().eval()
    dry = 0.1 * torch.rand(channels, 100_000, generator=torch.Generator().manual_seed(0))
    dry[0, 90_000:95_000] *= 3
    source = ArraySource(dry)
    (found,) = excerpts(model, [Recording("a", source, source, "a", start=89_000, stop=100_000, offset=77)])
    assert 90_000 <= found.start < 91_000
    expected = gain(77 + found.start + torch.arange(4000), 1000)
    torch.testing.assert_close(found.parameters["0"]["level"], expected)
    torch.testing.assert_close(torch.from_numpy(found.audio), dry[0, found.start : found.start + 4000].double())


@torch.no_grad()
def test_ranges_cover_all_streamed_blocks():
    model, controls = built(), torch.tensor([[0.3]], dtype=torch.float64)
    audio = torch.rand(1, 1, 300, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    with observed_ranges(model) as seen:
        stream = Streamer(model, controls)
        for block in audio.split([1, 99, 200], -1):
            stream.push(block)
        stream.flush()
    model(3 * audio, controls)  # is not seen any more
    rows = ranges_as_rows(model, seen)
    for (signal, values), row in zip(by_hand(model, audio, controls), rows, strict=True):
        (name,) = values
        lasting = (signal[..., :-20], values[name][..., :-20] if values[name].ndim == 2 else values[name])
        for whole, part, found in zip(
            (signal, values[name]), lasting, (row["input"], row["parameters"][name]), strict=True
        ):
            assert found[0] <= float(part.min()) + 1e-9 and found[1] >= float(part.max()) - 1e-9
            assert found[1] - found[0] <= float(whole.max() - whole.min()) + 1.1  # silence follows the file's end
    assert [row["stage"] for row in rows] == [title_of(*one) for one in labelled_stages(model)]
    assert rows[2]["parameters"]["amount"][0] == rows[2]["parameters"]["amount"][1]


def test_a_range_with_nan_is_none():
    model = built([(Leaky, Setting, {})], ())
    with observed_ranges(model) as seen, torch.no_grad():
        model(torch.tensor([[[0.5, float("nan")]]], dtype=torch.float64))
    (row,) = ranges_as_rows(model, seen)
    assert row["input"] is None
    assert row["parameters"]["leak"] == pytest.approx([-0.9 + 1.8 * 0.7] * 2)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Gain", "gain"),
        ("DCOffset", "DC offset"),
        ("ParametricEQ", "parametric EQ"),
        ("StaticFIR", "static FIR"),
        ("StaticConditional", "static conditional"),
        ("LFO", "LFO"),
    ],
)
def test_classes_in_words(name, words):
    assert in_words(name) == words


def test_stages_are_titled_by_place_name_and_controller():
    fixed = Stage(Leaky(), Setting(num_parameters=0), {"leak": 0.5})
    shelf = Leaky()
    shelf.title = "low shelf"
    model = GrayBox.from_stages([Stage(Leaky(), Setting()), fixed, Stage(shelf, Envelope(0))])
    assert [title_of(*one) for one in labelled_stages(model)] == [
        "1 leaky (setting)",
        "2 leaky (fixed)",
        "3 low shelf (envelope)",
    ]
    assert title_of("2/0/1", fixed) == "3.1.2 leaky (fixed)"


def test_quantities_in_units():
    values = [(12345.678, "Hz"), (-0.123456, "dB"), (1e-7, ""), (999.96, "Hz"), (-2000.0, ""), (0.0, "dB")]
    assert [quantity(*one) for one in values] == ["12,346 Hz", "−0.1235 dB", "1e-07", "1000 Hz", "−2,000", "0 dB"]
    names = [Parameter("cutoff_hz", 1, 2, "Hz"), Parameter("low_shelf_gain_db", 0, 1, "dB"), Parameter("q")]
    assert [called(one) for one in names] == ["cutoff", "low shelf gain", "q"]
    knobs = [Control("tone", 20, 20000, "Hz", "log"), Control("mode", positions=("a", "b", "c"))]
    assert setting_in_words(knobs, [0.5, 0.5]) == "tone 632.5 Hz, mode b"
