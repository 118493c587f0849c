"""Filters and equalizers: parameters, names, accuracy, steps, and frequencies out of range."""

from __future__ import annotations

import inspect
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from nablafx_core import build
from nablafx_core.errors import ConfigError, ModelError
from nablafx_core.registry.settings import settings_of
from nablafx_core.steps import Steps
from nablafx_dsp.functional.cookbook import FORMULAS
from nablafx_dsp.processors.biquad import TYPES, Biquad
from nablafx_dsp.processors.equalizers import ParametricEQ, ShelvingEQ
from reference.biquad import cascade as slow
from reference.biquad import prototype_response

pytestmark = pytest.mark.slow

every_type = pytest.mark.parametrize("filter_type", TYPES)
every_equalizer = pytest.mark.parametrize("make", [ParametricEQ, ShelvingEQ])


def noise(*shape, seed=1):
    return torch.tensor(np.random.default_rng(seed).standard_normal(shape))


def somewhere(processor, *shape, seed=0):
    """Return random parameters by name, each of a shape."""
    random = np.random.default_rng(seed)
    return {p.name: p.from_unit(torch.tensor(random.uniform(0, 1, shape))) for p in processor.effect_parameters}


@pytest.mark.parametrize("filter_type", ["lowpass", "lowshelf"])
def test_a_low_sharp_filter_is_exact_for_float32_audio(filter_type):
    audio, w0 = noise(1, 480_000).float() * 0.3, 2 * math.pi * 20 / 48000
    parameters = {"cutoff_hz": torch.tensor([20.0]), "q": torch.tensor([10.0])}
    alpha, c, a = math.sin(w0) / 20, math.cos(w0), 10 ** (12 / 40)
    numbers = [(1 - c) / 2, 1 - c, (1 - c) / 2], [1 + alpha, -2 * c, 1 - alpha]
    if filter_type == "lowshelf":
        parameters["gain_db"] = torch.tensor([12.0])
        up, down, slope = a + 1, a - 1, 2 * math.sqrt(a) * alpha
        numbers = (
            [a * (up - down * c + slope), 2 * a * (down - up * c), a * (up - down * c - slope)],
            [up + down * c + slope, -2 * (down + up * c), up + down * c - slope],
        )
    output, _ = Biquad(filter_type, min_cutoff_hz=20)(audio[:, None], parameters)
    assert np.abs(output[0, 0].numpy() - lfilter(*numbers, audio[0].double().numpy())).max() < 1e-6


@every_type
def test_frequencies_beyond_the_range_of_the_sample_rate_are_clamped_with_a_warning(filter_type):
    with pytest.warns(UserWarning, match="above 7840 Hz are clamped") as caught:
        processor = Biquad(filter_type, sample_rate=16000, max_cutoff_hz=12000)
    assert caught[0].filename == __file__
    audio = noise(1, 100)[:, None]
    values = {p.name: torch.tensor([1.0]) for p in processor.effect_parameters}
    high, highest = (processor(audio, values | {"cutoff_hz": torch.tensor([hz])})[0] for hz in (12000.0, 7840.0))
    torch.testing.assert_close(high, highest, rtol=0, atol=0)


@every_equalizer
def test_the_ranges_of_a_table_end_at_the_highest_frequency(make):
    for parameter in make(sample_rate=44100).effect_parameters:
        assert parameter.unit != "Hz" or parameter.maximum <= 0.49 * 44100
    name = make.table[-1].name
    with pytest.warns(UserWarning, match=f"{name}: .* 24000 Hz; .* 48000 Hz, .* 23520 Hz"):
        make(cutoffs_hz={name: (1000.0, 24_000.0)})


def test_ranges_and_curves_are_settings():
    perceptual, linear = Biquad("peaking"), Biquad("peaking", curves="linear", min_q=1)
    assert [p.name for p in perceptual.effect_parameters] == ["gain_db", "cutoff_hz", "q"]
    assert [round(p.from_unit(0.5)) for p in perceptual.effect_parameters] == [0, 632, 1]
    assert [p.from_unit(0.5) for p in linear.effect_parameters] == [0, 10010, 5.5]
    assert [p.name for p in Biquad("lowpass").effect_parameters] == ["cutoff_hz", "q"]
    assert set(TYPES) == set(FORMULAS)
    equalizer = ParametricEQ(curves="linear", max_gain_db=6.0, cutoffs_hz={"peak2": (300.0, 500.0)})
    units = {p.name: p.from_unit(0.5) for p in equalizer.effect_parameters}
    assert (units["peak2_gain_db"], units["peak2_cutoff_hz"], units["highshelf_cutoff_hz"]) == (-3, 400, 10_000)


def test_parameters_of_equalizers_have_the_name_of_their_band():
    names = [p.name for p in ParametricEQ().effect_parameters]
    bands = ("lowshelf", "peak1", "peak2", "peak3", "highshelf")
    assert names == [f"{band}_{name}" for band in bands for name in ("gain_db", "cutoff_hz", "q")]
    assert [p.name for p in ShelvingEQ().effect_parameters] == [
        "highpass_cutoff_hz", "highpass_q", "lowshelf_gain_db", "lowshelf_cutoff_hz", "lowshelf_q",
        "highshelf_gain_db", "highshelf_cutoff_hz", "highshelf_q", "lowpass_cutoff_hz", "lowpass_q",
    ]  # fmt: skip


@every_equalizer
def test_an_equalizer_is_its_bands_in_series(make):
    processor, audio, frequency = make(), torch.zeros(2, 1, 48_000, dtype=torch.float64), 1234.0
    audio[..., 0] = 1
    values = somewhere(processor, 2)
    response = processor(audio, values)[0][:, 0].numpy() @ np.exp(-2j * np.pi * frequency / 48000 * np.arange(48_000))
    for item in range(2):
        expected = 1
        for band in make.table:
            own = [float(values.get(f"{band.name}_{p}", torch.zeros(2))[item]) for p in ("cutoff_hz", "q", "gain_db")]
            expected = expected * prototype_response(band.type, frequency, *own, 48000)
        assert abs(response[item] - expected) < 1e-6  # the response beyond one second is cut off


@every_equalizer
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_steps_are_parameters_held_over_each_block(make, dtype):
    processor, time, held = make(), 500, Steps(torch.zeros(2, 1, 6), 40, 100)
    audio, values = noise(2, 1, time).to(dtype), somewhere(processor, 2, 6)
    steps = {name: Steps(value, held.skip, held.block_size) for name, value in values.items()}
    first = processor.effect_parameters[0].name
    values[first], steps[first] = values[first][:, :1].expand(-1, 6), values[first][:, 0]  # one is constant
    over_time = {name: held._replace(values=value).over(time) for name, value in values.items()}
    output, state = processor(audio, steps)
    expected, after = processor(audio, over_time)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(state["z"], after["z"], rtol=0, atol=1e-9)


@given(cuts=st.lists(st.integers(1, 300), max_size=4))
@settings(max_examples=20)
def test_a_stream_of_steps_gives_the_same_bits(cuts):
    processor, time = ParametricEQ(), 300
    audio, values = noise(2, 1, time).float(), somewhere(processor, 2, 3)
    whole, _ = processor(audio, {name: Steps(value, 0, 100) for name, value in values.items()})
    outputs, state, start = [], processor.initial_state(2), 0
    for stop in sorted({*cuts, time}):
        last = -(-stop // 100)  # blocks so far; blocks before the chunk may be passed too
        steps = {name: Steps(value[:, :last], last * 100 - stop, 100) for name, value in values.items()}
        output, state = processor(audio[..., start:stop], steps, state)
        outputs.append(output)
        start = stop
    assert torch.equal(torch.cat(outputs, dim=-1), whole)


def test_moving_parameters_give_the_plain_recursion():
    processor, audio = ParametricEQ(), noise(2, 1, 60)
    values = somewhere(processor, 2, 60)
    output, state = processor(audio, values)
    coefficients = processor.coefficients(values).numpy()
    for item in range(2):
        expected, after = slow(audio[item, 0].numpy(), coefficients[item], np.zeros((5, 2)))
        np.testing.assert_allclose(output[item, 0], expected, atol=1e-12)
        np.testing.assert_allclose(state["z"][item], after, atol=1e-12)


@every_type
def test_each_type_has_a_name_of_its_own(filter_type):
    named = build("processor", {"name": filter_type, "min_q": 0.5}, sample_rate=44100)
    assert (type(named).__name__, named.bands[0].type, named.sample_rate) == (
        filter_type.capitalize(),
        filter_type,
        44100,
    )
    assert named.effect_parameters == Biquad(filter_type, 44100, min_q=0.5).effect_parameters
    assert type(pickle.loads(pickle.dumps(named))) is type(named)
    own, general = settings_of(type(named)), settings_of(Biquad)
    assert own == {name: setting for name, setting in general.items() if name != "type"}
    assert "type" not in inspect.signature(type(named)).parameters
    with pytest.raises(ConfigError, match="has no setting 'type'"):
        build("processor", {"name": filter_type, "type": "peaking"})


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (Biquad, {"type": "comb"}, "type 'comb'.* peaking, lowpass"),
        (Biquad, {"type": "peaking", "min_q": 0.0}, "peaking: .* Q .*from 0"),
        (ParametricEQ, {"cutoffs_hz": {"peak4": (1.0, 2.0)}}, "'peak4' .*lowshelf, peak1, peak2"),
        (ShelvingEQ, {"cutoffs_hz": {"lowpass": (0.0, 2.0)}}, "lowpass: cutoff .*from 0 Hz"),
    ],
)
def test_settings_that_make_no_filter_are_refused(make, arguments, message):
    with pytest.raises(ModelError, match=message):
        make(**arguments)
