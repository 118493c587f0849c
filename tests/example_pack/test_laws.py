"""The components of the example pack obey the laws, for more settings than their examples."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nablafx_core.registry.building import build
from nablafx_core.testing import check_pack, laws, laws_gradients, laws_position, laws_saving

pytestmark = pytest.mark.slow


def model(knobs=("tone",)):
    return build("model", {"name": "soft-tone"}, sample_rate=16000, controls=[{"name": knob} for knob in knobs])


def tremolo():
    return build("processor", {"name": "example/tremolo", "max_rate_hz": 200.0}, sample_rate=16000)


def lfo(num_controls=0):
    settings = {"name": "lfo", "rate_hz": 7.0}
    return build("controller", settings, num_parameters=3, num_controls=num_controls, sample_rate=1000)


def test_the_examples_of_the_components():
    checked = {(result.kind, result.component) for result in check_pack("nablafx-example")}
    assert checked >= {("model", "soft-tone"), ("processor", "tremolo"), ("controller", "lfo")}
    assert checked >= {("loss", "framed-esr"), ("metric", "snr")}


@pytest.mark.parametrize(
    "subject", [model, lambda: model(()), lambda: model(("tone", "presence")), tremolo, lfo, lambda: lfo(2)]
)
class TestLaws:
    @given(cuts=st.lists(st.integers(1, 200), min_size=1, max_size=6), moving=st.booleans())
    def test_stream_is_offline(self, subject, cuts, moving):
        laws.stream_equals_offline(subject(), cuts, moving_controls=moving)

    def test_single_precision(self, subject):
        laws.stream_equals_offline(subject(), [1, 500, 37, 3000], dtype=torch.float32)

    def test_items_and_time(self, subject):
        laws.items_are_independent(subject())
        laws.no_look_ahead(subject())
        laws_position.begins_anywhere(subject())
        laws.silence_gives_no_nan(subject())

    def test_gradients_and_knobs(self, subject):
        laws_gradients.every_control_moves_output(subject())
        laws_gradients.every_parameter_moves_output(subject())
        laws_gradients.gradients_are_right(subject())
        laws_gradients.gradients_are_finite(subject())

    def test_saving(self, subject):
        laws_saving.saves_what_it_loads(subject())
