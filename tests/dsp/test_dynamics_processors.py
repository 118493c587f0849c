"""Compressor, limiter, expander and gate as parts of a chain."""

from __future__ import annotations

import pytest
import torch

from nablafx_core.errors import ModelError
from nablafx_core.graybox import GrayBox
from nablafx_core.testing import laws, laws_gradients, laws_saving, laws_steps
from nablafx_dsp.functional.dynamics import dynamics
from nablafx_dsp.processors.dynamics import Compressor, Dynamics, Expander, Gate, Limiter

pytestmark = pytest.mark.slow

SETTINGS = [
    {},
    {"detector": "rms", "smoothing": "decoupled", "ranges": {"rms_ms": (0.1, 1)}},  # short enough for the laws
    {"lookahead_ms": 1.0, "curves": "linear", "ranges": {"attack_ms": (0.1, 2)}},
]
every_setting = pytest.mark.parametrize("settings", SETTINGS, ids=["default", "rms, decoupled", "look-ahead"])
every_kind = pytest.mark.parametrize("kind", [Compressor, Limiter, Expander, Gate])


def units(processor, batch=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {p.name: p.from_unit(torch.rand(batch, generator=generator)) for p in processor.effect_parameters}


@every_kind
@every_setting
def test_they_obey_the_laws(kind, settings):
    subject = kind(**settings)
    assert subject.latency == (48 if "lookahead_ms" in settings else 0)
    for dtype in (torch.float32, torch.float64):
        laws.stream_equals_offline(subject, [100, 1, 300, 7], dtype=dtype)
        laws.stream_equals_offline(subject, [10, 1, 30, 7, 300], dtype=dtype, moving_controls=True)
    laws.no_look_ahead(subject)
    laws.silence_gives_no_nan(subject)
    laws.items_are_independent(subject)
    laws_steps.steps_are_their_samples(subject)
    laws_gradients.every_control_moves_output(subject)
    laws_gradients.gradients_are_right(subject)
    laws_gradients.gradients_are_right(subject, moving_controls=True)
    laws_gradients.gradients_are_finite(subject)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_chain_with_these_obeys_the_laws(dtype):
    def chain():
        torch.manual_seed(0)
        return GrayBox(
            [
                {"name": "gate", "controller": "static", "lookahead_ms": 0.25},
                {
                    "name": "compressor",
                    "controller": {"name": "dynamic", "block_size": 16},
                    "detector": "rms",
                    "lookahead_ms": 0.5,
                },
                {"name": "expander", "controller": "static", "smoothing": "decoupled"},
                {"name": "limiter", "controller": "static", "fixed": {"knee_db": 0, "makeup_db": 0}},
            ]
        )

    model = chain()
    laws.stream_equals_offline(model, [1, 200, 63, 64, 7], dtype=dtype)
    laws.items_are_independent(model)
    laws_saving.saves_what_it_loads(model, chain)


@every_kind
@every_setting
def test_they_are_the_function_of_the_delayed_audio(kind, settings):
    processor, audio = kind(**settings), torch.randn(2, 1, 400, generator=torch.Generator().manual_seed(1))
    parameters, late = units(processor), processor.latency
    smoothing = settings.get("smoothing", "branching")
    ahead = torch.nn.functional.pad(audio, (0, late))
    same, key = torch.nn.functional.pad(audio, (late, 0)), ahead
    expected, _ = dynamics(same, parameters, kind=processor.kind, smoothing=smoothing, key=key)
    torch.testing.assert_close(processor(audio, parameters)[0], expected[..., late:], rtol=0, atol=0)


def test_a_limiter_with_look_ahead_limits_a_step_to_its_threshold():
    audio = torch.cat([torch.full((4800,), 0.01), torch.ones(4800)]).double()[None, None]
    values = {"threshold_db": -20.0, "knee_db": 0.0, "attack_ms": 0.5, "release_ms": 100.0, "makeup_db": 0.0}
    parameters = {name: torch.tensor([value], dtype=torch.float64) for name, value in values.items()}
    peak = {ms: float(Limiter(lookahead_ms=ms)(audio, parameters)[0][..., :9000].abs().max()) for ms in (0.0, 5.0)}
    assert peak[0.0] > 0.9
    assert peak[5.0] < 0.1 * 1.001


def test_invalid_settings_are_refused():
    for settings, message in [
        ({"detector": "log"}, "detector 'log'"),
        ({"smoothing": "none"}, "smoothing 'none'"),
        ({"lookahead_ms": -1.0}, "lookahead_ms .* -1"),
        ({"ranges": {"hold_ms": (1, 2)}}, "'hold_ms' .*threshold_db, ratio"),
        ({"ranges": {"ratio": (0.5, 2)}}, "ratio .* 0.5"),
        ({"ranges": {"attack_ms": (0, 2)}, "curves": "linear"}, "attack_ms .* 0"),
    ]:
        with pytest.raises(ModelError, match=message):
            Dynamics(**settings)
