"""Every processor and controller keeps the laws; each computes its formula; chains of them are models."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nablafx_core.controls import Control
from nablafx_core.errors import ConfigError, ModelError
from nablafx_core.graybox import GrayBox, Stage
from nablafx_core.graybox.nothing import NoController
from nablafx_core.interfaces import Processor
from nablafx_core.profiling import count_macs
from nablafx_core.testing import laws, laws_gradients, laws_saving, laws_shape
from nablafx_dsp.controllers.static import Static, StaticConditional
from nablafx_dsp.processors.biquad import TYPES, Biquad
from nablafx_dsp.processors.equalizers import ParametricEQ, ShelvingEQ
from nablafx_dsp.processors.memoryless import DCOffset, Gain, PhaseInversion
from nablafx_dsp.processors.nonlinearities import Tanh
from nablafx_dsp.processors.phase_shift import PhaseShift

KNOBS = (Control("drive"), Control("tone", 20, 20000, "Hz", "log"))


def chain():
    """Every processor and every controller of this pack in a line."""
    return GrayBox(
        [
            {"name": "biquad", "type": "highpass", "controller": "static"},
            {"name": "gain", "controller": {"name": "static_cond", "hidden_size": 4}, "lr_multiplier": 0.1},
            {"name": "dc_offset", "controller": "static", "min_offset": -0.1, "max_offset": 0.1},
            {"name": "phase_inversion"},
            {"name": "tanh", "controller": None},
            {"name": "biquad", "type": "peaking", "controller": "static_cond", "fixed": {"q": 0.7}},
            {
                "name": "biquad",
                "type": "lowpass",
                "min_cutoff_hz": 9e3,
                "max_cutoff_hz": 9e3,
                "min_q": 1.0,
                "max_q": 1.0,
            },
        ],
        controls=KNOBS,
    )


def test_a_chain_costs_its_biquads():
    assert count_macs(chain()) == (3 * 5, ())


SUBJECTS = {
    "gain": Gain,
    "dc offset": DCOffset,
    "phase inversion": PhaseInversion,
    "tanh": Tanh,
    "phase shift": lambda: PhaseShift(lowest_hz=2000.0),
    "phase shift of the previous sample": lambda: PhaseShift(quadrature="previous_sample"),
    **{f"biquad {name}": lambda name=name: Biquad(name) for name in TYPES},
    "biquad linear": lambda: Biquad("peaking", curves="linear"),
    "parametric eq": ParametricEQ,
    "shelving eq": ShelvingEQ,
    "static": lambda: Static(3),
    "static_cond": lambda: StaticConditional(3, 2, hidden_size=4),
    "chain": chain,
}
every_subject = pytest.mark.parametrize("make", SUBJECTS.values(), ids=SUBJECTS)


@every_subject
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@settings(max_examples=10)
@given(cuts=st.lists(st.integers(1, 100), min_size=1, max_size=6), moving=st.booleans())
def test_stream_equals_offline(make, dtype, cuts, moving):
    torch.manual_seed(0)
    laws.stream_equals_offline(make(), cuts, dtype=dtype, moving_controls=moving)


@every_subject
def test_the_other_laws(make):
    torch.manual_seed(0)
    subject = make()
    laws.items_are_independent(subject)
    laws.no_look_ahead(subject)
    laws.silence_gives_no_nan(subject)
    laws_gradients.every_control_moves_output(subject)
    laws_gradients.every_parameter_moves_output(subject)
    laws_saving.saves_what_it_loads(subject, make)
    if isinstance(subject, Processor):
        assert subject.shape != "other"
        laws_shape.has_its_shape(subject)


@every_subject
def test_gradients(make):
    torch.manual_seed(0)
    subject = make()
    for moving in (False, True):
        laws_gradients.gradients_are_right(subject, moving_controls=moving)
    laws_gradients.gradients_are_finite(subject)


@pytest.mark.parametrize("shape", [(2,), (2, 5)])
def test_memoryless_effects_are_their_formulas(shape):
    audio, value = torch.linspace(-2, 2, 10).reshape(2, 1, 5), torch.rand(shape)
    each = value.reshape(2, 1, -1)
    torch.testing.assert_close(Gain()(audio, {"gain_db": 20 * value})[0], audio * 10**each)
    torch.testing.assert_close(DCOffset()(audio, {"offset": value})[0], audio + each)
    assert torch.equal(PhaseInversion()(audio, {})[0], -audio)
    torch.testing.assert_close(Tanh()(audio, {})[0], (audio.exp() - (-audio).exp()) / (audio.exp() + (-audio).exp()))


def test_a_chain_of_sections_is_its_parts():
    model = chain()
    assert [type(part).__name__ for part in model.controllers] == [
        "Static", "StaticConditional", "Static", "NoController", "NoController", "StaticConditional", "NoController",
    ]  # fmt: skip
    assert [dict(stage.fixed) for stage in model.stages[5:]] == [{"q": 0.7}, {"q": 1.0, "cutoff_hz": 9e3}]
    assert model.controllers[1].lr_multiplier == model.processors[1].lr_multiplier == 0.1
    assert "controllers.5.projection.layers.4.weight" in model.state_dict()
    loud = GrayBox([{"name": "gain", "fixed": {"gain_db": 20}}, {"name": "phase_inversion"}])
    torch.testing.assert_close(loud(torch.full((1, 1, 3), 0.1))[0], torch.full((1, 1, 3), -1.0))


def test_controllers_say_what_they_miss():
    with pytest.raises(ConfigError, match="0 parameters, but 1 are not fixed: gain_db. Add a controller"):
        GrayBox([{"name": "gain"}])
    with pytest.raises(ConfigError, match="not fixed: gain_db"):
        Stage(Gain(), NoController())
    with pytest.raises(ModelError, match="this model has none. Use 'static'"):
        GrayBox([{"name": "gain", "controller": "static_cond"}])


def test_a_small_spread_begins_near_the_middle():
    torch.manual_seed(0)
    wide, narrow = Static(2000).logits, Static(2000, spread=0.1).logits
    assert 0.9 < wide.std() < 1.1
    assert 0.09 < narrow.std() < 0.11
