"""Chains of processors: their output, the sum of their latencies, and rejected settings."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nablafx_core.controls import Control
from nablafx_core.errors import ConfigError, ModelError
from nablafx_core.graybox import GrayBox, Stage, describe
from nablafx_core.testing import laws, laws_gradients, laws_saving
from reference.parts import Ahead, Envelope, Leaky, Peaks, SampledPeaks, Setting, SteppedLeaky, chain

#: Stages of a chain as (processor, controller, its arguments), and the latency of the chain, computed by hand.
CHAINS = {
    "memoryless controllers": ([(Leaky, Setting, {}), (Leaky, Envelope, {"lag": 0})], 0),
    "processors add up": ([(Ahead, Setting, {}), (Leaky, Setting, {}), (Ahead, Envelope, {"lag": 0})], 6),
    "a controller delays its audio": ([(Leaky, Envelope, {"lag": 5}), (Leaky, Setting, {})], 5),
    "controllers of the chain work side by side": ([(Leaky, Envelope, {"lag": 5}), (Leaky, Envelope, {"lag": 7})], 7),
    "a controller of its processor waits": (
        [(Leaky, Envelope, {"lag": 5}), (Leaky, Envelope, {"lag": 2, "reads": "processor"}), (Ahead, Setting, {})],
        10,
    ),
    "a controller is ready before the audio": (
        [(Ahead, Setting, {}), (Ahead, Setting, {}), (Ahead, Envelope, {"lag": 2})],
        9,
    ),
    "steps": ([(SteppedLeaky, Peaks, {}), (Leaky, Peaks, {})], 3),
    "steps that wait, and whose file ends in a processor": (
        [(Ahead, Envelope, {"lag": 2}), (Leaky, Peaks, {}), (Ahead, Peaks, {"reads": "processor"})],
        11,
    ),
    "everything": (
        [
            (Ahead, Envelope, {"lag": 0}),
            (Leaky, Envelope, {"lag": 9, "reads": "processor"}),
            (Ahead, Envelope, {"lag": 1}),
            (Leaky, Envelope, {"lag": 0, "reads": "processor"}),
            (Leaky, Setting, {}),
        ],
        15,
    ),
}
every_chain = pytest.mark.parametrize(("parts", "latency"), CHAINS.values(), ids=CHAINS)
with_knobs = pytest.mark.parametrize("knobs", [(), (Control("amount"),)], ids=["", "knob"])


def built(parts, knobs=()):
    stages = [Stage(make(), drive(**arguments, num_controls=len(knobs))) for make, drive, arguments in parts]
    return GrayBox.from_stages(stages, controls=knobs)


def sounds(knobs, time, moving):
    generator = torch.Generator().manual_seed(0)
    audio = torch.rand(2, 1, time, generator=generator, dtype=torch.float64) * 2 - 1
    shape = (2, len(knobs), time) if moving else (2, len(knobs))
    return audio, torch.rand(shape, generator=generator, dtype=torch.float64) if knobs else None


@every_chain
@with_knobs
@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("time", [40, 6, 1])
def test_the_offline_output_equals_that_of_the_parts_in_a_row(parts, latency, knobs, moving, time):
    model = built(parts, knobs).double()
    audio, controls = sounds(knobs, time, moving)
    assert model.latency == latency
    torch.testing.assert_close(model(audio, controls)[0], chain(model.stages, audio, controls), rtol=0, atol=1e-12)


@every_chain
@with_knobs
@settings(max_examples=15)
@given(cuts=st.lists(st.integers(1, 12), min_size=1, max_size=6), moving=st.booleans())
def test_stream_equals_offline(parts, latency, knobs, cuts, moving):
    laws.stream_equals_offline(built(parts, knobs), cuts, moving_controls=moving)


@pytest.mark.parametrize("knobs", [(), (Control("amount"),)])
@pytest.mark.parametrize("moving", [False, True])
def test_steps_equal_parameters_for_each_sample(knobs, moving):
    parts = [(SteppedLeaky, {}), (Ahead, {"reads": "processor"}), (SteppedLeaky, {"reads": "processor"}), (Leaky, {})]
    stepped, sampled = (
        built([(make, drive, a) for make, a in parts], knobs).double() for drive in (Peaks, SampledPeaks)
    )
    audio, controls = sounds(knobs, 41, moving)
    torch.testing.assert_close(stepped(audio, controls), sampled(audio, controls), rtol=0, atol=1e-14)
    cuts, state, other = [1, 5, 3, 32], stepped.initial_state(2), sampled.initial_state(2)
    for i, block in enumerate(audio.split(cuts, -1)):
        knob = controls if controls is None or not moving else controls.split(cuts, -1)[i]
        (out, state), (by_sample, other) = stepped(block, knob, state), sampled(block, knob, other)
        torch.testing.assert_close(out, by_sample, rtol=0, atol=1e-14)


def test_the_latencies_of_a_controller_and_its_processor_add_up():
    model = built([(Ahead, Envelope, {"lag": 2}), (Leaky, Setting, {})])
    assert model.latency == 5
    laws.stream_equals_offline(model, [1, 3, 9, 2])


@every_chain
@with_knobs
def test_the_other_laws(parts, latency, knobs):
    model = built(parts, knobs)
    laws.no_look_ahead(model, phases=8)
    laws.items_are_independent(model, time=40)
    laws.silence_gives_no_nan(model, time=40)
    laws_gradients.every_control_moves_output(model, time=40)
    laws_gradients.every_parameter_moves_output(model, time=40)
    laws_saving.saves_what_it_loads(model, lambda: built(parts, knobs), time=40)


@every_chain
def test_gradients_go_through_the_state(parts, latency):
    model = built(parts).double()
    audio, _ = sounds((), 40, False)
    weights = list(model.parameters())
    whole = torch.autograd.grad(model(audio)[0].square().sum(), weights)
    outputs, state = [], model.initial_state(2)
    for block in audio.split([3, 18, 19], -1):
        out, state = model(block, None, state)
        outputs.append(out)
    streamed = torch.cat([*outputs, model.flush(state)], -1)[..., latency:]
    torch.testing.assert_close(torch.autograd.grad(streamed.square().sum(), weights), whole)


@every_chain
@with_knobs
@pytest.mark.parametrize("moving", [False, True])
def test_the_state_after_offline_continues_as_a_stream(parts, latency, knobs, moving):
    model = built(parts, knobs).double()
    audio, controls = sounds(knobs, 50, moving)
    head, rest = (controls[..., :30], controls[..., 30:]) if knobs and moving else (controls, controls)
    whole = model(audio, controls)[0]
    _, state = model(audio[..., :30], head)
    continued = torch.cat(
        [model(audio[..., 30:], rest, state)[0], model.flush(model(audio[..., 30:], rest, state)[1])], -1
    )
    torch.testing.assert_close(continued, whole[..., 30 - latency :], rtol=0, atol=1e-12)


def test_fixed_parameters_are_values_in_units():
    stages = [Stage(Leaky(), Setting(num_parameters=0), {"leak": 0.5}), Stage(Ahead(), Setting())]
    model = GrayBox.from_stages(stages).double()
    audio, _ = sounds((), 10, False)
    by_hand = Leaky()(audio, {"leak": torch.full((2,), 0.5)})[0]
    amount = {"amount": torch.full((2,), -1 + 2 * 0.7, dtype=torch.float64)}
    torch.testing.assert_close(model(audio)[0], Ahead()(by_hand, amount)[0], atol=1e-7, rtol=0)
    values = [(line.index, line.processor, line.controller, line.parameter, line.value) for line in describe(model)]
    assert values == [(0, "Leaky", None, "leak", 0.5), (1, "Ahead", "Setting", "amount", pytest.approx(0.4, abs=1e-6))]


def test_the_description_follows_the_knobs_and_marks_parameters_that_vary():
    model = built([(Leaky, Setting, {}), (Leaky, Envelope, {"lag": 0})], (Control("amount", 0, 10, default=2.5),))
    assert [line.value for line in describe(model)] == [pytest.approx(-0.9 + 1.8 * (0.7 * 0.25 + 0.1)), None]
    assert describe(model, torch.tensor([1.0]))[0].value == pytest.approx(-0.9 + 1.8 * 0.8)
    with pytest.raises(ModelError, match="shape"):
        describe(model, torch.zeros(2))


def test_a_controller_has_the_learning_rate_of_its_processor():
    processor = Leaky()
    processor.lr_multiplier = 0.01
    model = GrayBox.from_stages([Stage(processor, Setting()), Stage(Leaky(), Setting())])
    assert [controller.lr_multiplier for controller in model.controllers] == [0.01, 1.0]
    assert set(model.state_dict()) == {"controllers.0.weight", "controllers.1.weight"}


def wrong_reader():
    controller = Setting()
    controller.reads = "neighbour"
    return Stage(Leaky(), controller)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (list, "empty"),
        (lambda: [Stage(Leaky(), Setting(num_parameters=2))], "2 parameters, but 1 are not fixed: leak"),
        (lambda: [Stage(Leaky(), Setting(num_parameters=0), {"leek": 0.5})], "cannot fix 'leek'. Parameters: leak"),
        (lambda: [Stage(Leaky(), Setting(num_parameters=0), {"leak": 2})], "fixed at 2, outside -0.9 to 0.9"),
        (lambda: [Stage(Leaky(44100), Setting())], "44100 Hz, the chain for 48000 Hz"),
        (lambda: [Stage(Leaky(), Setting(num_controls=2))], "2 knobs, the chain has 0"),
        (lambda: [wrong_reader()], "the label 'neighbour'. It can read chain, processor"),
    ],
)
def test_parts_that_do_not_fit_together_are_rejected(make, message):
    with pytest.raises(ConfigError, match=message):
        GrayBox.from_stages(make())


def test_a_batch_with_different_positions_is_rejected():
    model = built([(Ahead, Setting, {})])
    state = model.initial_state(2)
    state["position"][1] = 2
    with pytest.raises(ModelError, match="same sample"):
        model(torch.zeros(2, 1, 4), None, state)
