"""Processors at a multiple of the sample rate: filters, latency, parameters, weights and the laws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from nablafx_core.config import load_experiment
from nablafx_core.config.schema import TrainSettings
from nablafx_core.errors import ConfigError
from nablafx_core.graybox import GrayBox, Stage
from nablafx_core.profiling import count_macs
from nablafx_core.registry.building import build
from nablafx_core.testing import laws, laws_gradients, laws_position, laws_saving
from nablafx_core.training.optimizer import optimizer_of
from nablafx_dsp.functional.halfband import STAGES, down, half_band, up
from reference.tremolo import TremoloProcessor

pytestmark = pytest.mark.slow

FACTORS = (2, 4, 8)
LATENCIES = {2: 35, 4: 41, 8: 44}
every_factor = pytest.mark.parametrize("factor", FACTORS)
INNER = {
    "soft clip": {"name": "soft_clip"},
    "antialiased": {"name": "wave_folder", "antialiasing": "adaa1"},
    "network": {"name": "static_mlp"},
    "rational": {"name": "static_rational"},
    "filter": {"name": "biquad", "type": "peaking"},
    "offset": {"name": "dc_offset"},
}


def oversampled(factor, inner="phase_inversion", **settings):
    return build("processor", {"name": "oversampled", "factor": factor, "processor": inner, **settings})


def full(size):
    """Return all taps of a half-band filter."""
    taps = np.zeros(2 * size + 1)
    taps[::2], taps[size] = half_band(size), 0.5
    return taps


@pytest.mark.parametrize(
    ("factor", "inner"), [*((2, inner) for inner in INNER.values()), (4, INNER["antialiased"]), (8, INNER["offset"])]
)
@settings(max_examples=5)
@given(cuts=st.lists(st.integers(1, 90), min_size=1, max_size=5), moving=st.booleans())
def test_stream_equals_offline(factor, inner, cuts, moving):
    for dtype in (torch.float64, torch.float32):
        laws.stream_equals_offline(oversampled(factor, inner), cuts, dtype=dtype, moving_controls=moving)


@every_factor
def test_an_oscillator_inside_has_the_phase_that_it_has_outside(factor):
    inside = oversampled(factor, {"name": "reference.tremolo:TremoloProcessor"}, sample_rate=1000)
    assert inside.remembers_position and not oversampled(factor).remembers_position
    laws_position.begins_anywhere(inside)
    time = torch.arange(900, dtype=torch.float64)
    audio = torch.sin(2 * np.pi * 0.05 * time)[None, None]
    for start in (0, 4321, -20):
        stages = [Stage(part, build("controller", "none", num_parameters=0)) for part in (inside, TremoloProcessor())]
        chains = [GrayBox.from_stages([stage], 1000).double() for stage in stages]
        found, expected = (chain.offline(audio, start=start) for chain in chains)
        torch.testing.assert_close(found[..., 100:-100], expected[..., 100:-100], atol=3e-4, rtol=0)


@pytest.mark.parametrize("inner", INNER.values(), ids=INNER)
def test_the_other_laws(inner):
    subject = oversampled(2, inner)
    laws.items_are_independent(subject)
    laws.silence_gives_no_nan(subject)
    laws.no_look_ahead(subject)
    laws_gradients.every_control_moves_output(subject)
    laws_gradients.every_parameter_moves_output(subject)
    laws_gradients.gradients_are_finite(subject)
    laws_saving.saves_what_it_loads(subject, lambda: oversampled(2, inner))


@pytest.mark.parametrize("inner", [INNER["antialiased"], INNER["filter"], {"name": "static_rational"}])
def test_gradients(inner):
    for moving in (False, True):
        laws_gradients.gradients_are_right(oversampled(4, inner), moving_controls=moving)


@pytest.mark.parametrize("size", sorted({size for stage in STAGES for size in stage}))
def test_each_filter_is_that_of_scipy(size):
    """Compare with the definition: zeros between the samples, all taps, every second sample."""
    torch.manual_seed(0)
    audio, taps = torch.randn(2, 50, dtype=torch.float64), full(size)
    spread = np.zeros((2, 100))
    spread[:, ::2] = audio.numpy()
    doubled, _ = up(audio, audio.new_zeros(2, size))
    np.testing.assert_allclose(doubled.numpy(), signal.lfilter(2 * taps, 1, spread), atol=1e-14)
    halved, _ = down(doubled, audio.new_zeros(2, 2 * size))
    np.testing.assert_allclose(halved.numpy(), signal.lfilter(taps, 1, doubled.numpy())[:, ::2], atol=1e-14)
    window = signal.firwin(2 * size + 1, 0.5, window=("kaiser", 0.1102 * 81.3))
    np.testing.assert_allclose(taps, window, atol=1e-5)


def test_the_filters_pass_20_khz_and_stop_its_aliases():
    for i, stage in enumerate(STAGES):
        edge = 20 / (48 * 2 ** (i + 1))  # relative to the higher rate
        frequencies = np.linspace(0, 0.5, 8001)
        for size in stage:
            level = 20 * np.log10(np.abs(signal.freqz(full(size), worN=2 * np.pi * frequencies)[1]).clip(1e-9))
            assert np.abs(level[frequencies <= edge]).max() < 4e-4
            assert level[frequencies >= 0.5 - edge].max() < -88


@every_factor
def test_up_and_down_is_a_flat_delay(factor):
    subject = oversampled(factor)
    impulse = torch.zeros(1, 1, 257, dtype=torch.float64)
    impulse[..., 128] = -1
    response = subject(impulse, {})[0][0, 0]
    torch.testing.assert_close(response, response.flip(-1), rtol=0, atol=1e-15)  # symmetric about its middle
    assert subject.latency == LATENCIES[factor]
    frequencies = np.linspace(0, 20_000, 2001)
    level = 20 * np.log10(np.abs(signal.freqz(response.numpy(), worN=frequencies, fs=48_000)[1]))
    assert np.abs(level).max() < 0.001
    streamed = subject(impulse, {}, subject.initial_state(1, {}))[0][0, 0]
    torch.testing.assert_close(streamed[subject.latency :], response[: -subject.latency], rtol=0, atol=1e-15)


@every_factor
def test_the_whole_latency_is_used(factor):
    """The outermost taps are too small for the law to detect beside other samples; a single impulse shows them."""
    subject, reach = oversampled(factor, "phase_inversion"), LATENCIES[factor]
    impulse = torch.zeros(1, 1, 257, dtype=torch.float64)
    impulse[..., 128] = 1
    heard = subject(impulse, {})[0][0, 0].nonzero().flatten()
    assert (int(heard[0]), int(heard[-1])) == (128 - reach, 128 + reach)


@every_factor
def test_linear_processors_are_computed_at_the_higher_rate(factor):
    """A slow sine has no harmonics that alias, so that the nonlinearity is that of its samples."""
    audio = torch.sin(torch.arange(2000, dtype=torch.float64) * 2 * torch.pi * 100 / 48_000)[None, None]
    given = torch.tensor([6.0], dtype=torch.float64), torch.tensor([0.5], dtype=torch.float64)
    parameters = dict(zip(("drive_db", "bias"), given, strict=True))
    plain = build("processor", "asymmetric_tanh")(audio, parameters)[0]
    output = oversampled(factor, "asymmetric_tanh")(audio, parameters)[0]
    middle = slice(100, -100)  # the ends of the file are discontinuities
    torch.testing.assert_close(output[..., middle], plain[..., middle], rtol=0, atol=2e-4)


@every_factor
def test_a_parameter_applies_to_all_samples_interpolated_from_one(factor):
    """Compare with a moving offset at the higher rate, filtered and decimated by definition."""
    torch.manual_seed(0)
    offset = torch.rand(1, 300, dtype=torch.float64)
    output = oversampled(factor, "dc_offset")(torch.zeros(1, 1, 300, dtype=torch.float64), {"offset": offset})[0][0, 0]
    expected = np.repeat(offset[0].numpy(), factor)
    for stage in reversed(STAGES[: factor.bit_length() - 1]):
        expected = np.convolve(expected, full(stage.down), mode="same")[::2]
    np.testing.assert_allclose(output.numpy()[50:-50], expected[50:-50], atol=1e-12)


@every_factor
def test_a_file_begins_after_silence(factor):
    """A processor that turns silence into a constant does not start with a step."""
    offset = torch.tensor([0.5, -1.0], dtype=torch.float64)
    output = oversampled(factor, "dc_offset")(torch.zeros(2, 1, 100, dtype=torch.float64), {"offset": offset})[0]
    torch.testing.assert_close(output, offset[:, None, None].expand(2, 1, 100), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["dc_offset", "asymmetric_tanh"])
def test_a_control_changed_between_blocks_is_automation_that_jumps(name):
    subject = oversampled(4, name)
    audio = torch.rand(2, 1, 200, dtype=torch.float64)
    one = {p.name: p.from_unit(torch.tensor([0.2, 0.3], dtype=torch.float64)) for p in subject.effect_parameters}
    two = {p.name: p.from_unit(torch.tensor([0.7, 0.9], dtype=torch.float64)) for p in subject.effect_parameters}
    state, parts = subject.initial_state(2, one), []
    for start, values in ((0, one), (90, two), (110, two)):
        stop = {0: 90, 90: 110, 110: 200}[start]
        out, state = subject(audio[..., start:stop], values, state)
        parts.append(out)
    moving = {n: torch.cat([one[n][:, None].expand(-1, 90), two[n][:, None].expand(-1, 110)], dim=-1) for n in one}
    expected = subject(audio, moving, subject.initial_state(2, one))[0]
    torch.testing.assert_close(torch.cat(parts, dim=-1), expected)


def aliasing_db(section, prime=9973, cycles=331):
    """Return the energy below 20 kHz outside the harmonics of a sine with a period of a prime number of samples."""
    subject = build("processor", section)
    audio = torch.sin(2 * torch.pi * cycles / prime * torch.arange(3 * prime, dtype=torch.float64))[None, None]
    values = {"drive_db": torch.tensor([20.0]).double(), "threshold": torch.ones(1).double()}
    energy = torch.fft.rfft(subject(audio, values)[0][0, 0, prime : 2 * prime]).abs().square()[: prime * 20 // 48]
    harmonics = energy[::cycles].clone()
    energy[::cycles] = 0
    return 10 * float(torch.log10(energy.sum() / harmonics[1]))


def test_there_is_less_aliasing():
    """Harmonic k of a clipped sine falls as 1 / k^2, so that each doubling reduces the strongest alias by 12 dB."""
    levels = [aliasing_db({"name": "hard_clip"})]
    levels += [aliasing_db({"name": "oversampled", "factor": f, "processor": "hard_clip"}) for f in FACTORS]
    smooth = {"name": "hard_clip", "antialiasing": "adaa1"}
    levels += [aliasing_db(smooth), aliasing_db({"name": "oversampled", "factor": 2, "processor": smooth})]
    plain, by_2, by_4, by_8, adaa, both = levels
    assert plain > by_2 + 10 > by_4 + 20 > by_8 + 30
    assert adaa < plain - 6
    assert both < by_2 - 10


@every_factor
def test_dry_and_wet_are_not_combed(factor):
    """An empty branch is delayed to match the other one, so that the sum is twice the audio."""
    inner = {"name": "gain"}
    stage = {"name": "oversampled", "factor": factor, "processor": inner, "fixed": {"gain_db": 0.0}}
    chain = GrayBox([{"parallel": [[], [stage]]}]).double()
    assert chain.latency == LATENCIES[factor]
    time = torch.arange(4000, dtype=torch.float64)
    audio = torch.stack([torch.sin(2 * torch.pi * hz / 48_000 * time) for hz in (80, 3000, 11_000, 19_000)])[:, None]
    mixed = chain(audio)[0]
    middle = slice(100, -100)
    torch.testing.assert_close(mixed[..., middle], audio[..., middle], rtol=0, atol=2e-4)
    wet_alone = GrayBox([stage]).double()(audio)[0]
    torch.testing.assert_close(2 * mixed, audio + wet_alone, rtol=0, atol=1e-12)


def test_it_is_driven_and_trained_like_its_inner_processor():
    alone = GrayBox([{"name": "static_mlp"}, {"name": "soft_clip", "controller": "static"}])
    wrapped = GrayBox(
        [
            {"name": "oversampled", "factor": 2, "processor": {"name": "static_mlp"}},
            {"name": "oversampled", "processor": {"name": "soft_clip"}, "controller": "static", "lr_multiplier": 0.3},
        ]
    )
    inner = {key.replace(".processor.", "."): value for key, value in wrapped.state_dict().items()}
    assert list(inner) == list(alone.state_dict())
    assert wrapped.processors[1].processor.sample_rate == 4 * 48_000
    rates = {group["lr"] for group in optimizer_of(wrapped, TrainSettings(learning_rate=1.0)).param_groups}
    assert rates == {0.01, 0.3}
    assert wrapped.latency == 35 + 41
    macs = count_macs(wrapped.processors[0])
    assert macs == (36 + 37 + 2 * 2112, ())


def test_an_experiment_checks_the_inner_section(tmp_path):
    def check(processor):
        text = (
            f"data: {{name: pair, dry: a.wav, wet: b.wav}}\nmodel:\n  name: graybox\n  processors:\n    - {processor}\n"
        )
        path = tmp_path / "e.yaml"
        path.write_text(text)
        return load_experiment([path]).config["model"]["processors"][0]

    section = check("{name: oversampled, factor: 8, processor: {name: soft_clip}, controller: static}")
    assert section["processor"]["antialiasing"] == "none"
    assert build("model", {"name": "graybox", "processors": [section]}).latency == 44
    for wrong, message in (
        ("{name: soft_clip, antialiasin: none}", "processor.antialiasin: SoftClip has no setting 'antialiasin'"),
        ("{name: soft_clip, controller: static}", "write controller beside `name: oversampled`, not inside"),
        ("{parallel: [[], [tanh]]}", "processor: oversampled .* one processor"),
    ):
        with pytest.raises(ConfigError, match=message):
            check(f"{{name: oversampled, processor: {wrong}}}")


def test_processors_and_factors_that_are_refused():
    with pytest.raises(ConfigError, match="latency of 35 samples at 4 times the rate"):
        oversampled(4, {"name": "oversampled", "factor": 2, "processor": "tanh"})
    with pytest.raises(ConfigError, match="factor .* 3"):
        oversampled(3)
    with pytest.raises(ConfigError, match="write fixed beside"):
        oversampled(4, {"name": "gain", "fixed": {"gain_db": 1.0}})
