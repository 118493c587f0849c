"""Each law holds for a correct component, returns the right measurement, and breaks for a faulty component."""

from __future__ import annotations

import pytest
import torch

from nablafx_core.steps import Steps
from nablafx_core.testing import laws, laws_gradients, laws_saving, laws_scores, laws_steps
from nablafx_core.testing.subject import LawBroken, check
from reference.parts import Leaky, Peaks, SteppedLeaky
from reference.toys import Absolute, Echo, ErrorToSignal, Follower, Gain

ALL = {
    "stream": lambda s: laws.stream_equals_offline(s, [1, 4, 9, 2]),
    "stream, moving": lambda s: laws.stream_equals_offline(s, [1, 4, 9, 2], moving_controls=True, dtype=torch.float32),
    "items": laws.items_are_independent,
    "look-ahead": lambda s: laws.no_look_ahead(s, phases=8),
    "silence": laws.silence_gives_no_nan,
    "controls": laws_gradients.every_control_moves_output,
    "parameters": laws_gradients.every_parameter_moves_output,
    "gradients": laws_gradients.gradients_are_right,
    "finite": laws_gradients.gradients_are_finite,
    "saving": lambda s: laws_saving.saves_what_it_loads(s, lambda: Echo(s.ahead, s.fault)),
}


@pytest.mark.parametrize("law", ALL.values(), ids=ALL)
@pytest.mark.parametrize("latency", [0, 3])
def test_a_right_model_keeps_every_law(law, latency):
    law(Echo(latency))


@pytest.mark.parametrize(
    ("law", "fault"),
    [
        ("stream", "forgets"),
        ("stream", "latency too long"),
        ("items", "sees the batch"),
        ("look-ahead", "latency too long"),
        ("look-ahead", "latency too short"),
        ("silence", "NaN in silence"),
        ("controls", "ignores its control"),
        ("parameters", "idle weight"),
        ("gradients", "wrong gradient"),
        ("finite", "endless gradient"),
        ("saving", "unsaved"),
    ],
)
def test_a_fault_breaks_its_law(law, fault):
    with pytest.raises(LawBroken, match="Echo"):
        ALL[law](Echo(3, fault))


def test_the_measured_values_of_laws():
    assert laws.no_look_ahead(Echo(5)) == 5
    assert laws.no_look_ahead(Echo(0)) == 0
    model = Echo(0)
    model.weight.data.fill_(2.0)
    assert 1.9 < laws_gradients.every_control_moves_output(model) < 2.0
    assert laws_gradients.gradients_are_right(Echo(0)) == 3


def test_nan_breaks_a_law():
    assert check(0.5, 0.5, "law", "") == 0.5
    for measured in (0.6, float("nan")):
        with pytest.raises(LawBroken, match=r"law: measured .*, allowed 0.5. Do this."):
            check(measured, 0.5, "law", "Do this.")


def test_laws_do_not_change_the_subject():
    model = Echo().train()
    laws.stream_equals_offline(model, [4, 4])
    laws_gradients.gradients_are_right(model)
    assert model.training
    assert model.weight.dtype == torch.float32
    assert model.weight.grad is None


@pytest.mark.parametrize("law", [law for name, law in ALL.items() if name != "saving"])
@pytest.mark.parametrize("subject", [Gain(), Follower(), Peaks()], ids=["processor", "controller", "steps"])
def test_processors_and_controllers_are_held_to_the_same_laws(law, subject):
    law(subject)


def test_a_delayed_processor_streams_but_does_not_look_ahead():
    laws.stream_equals_offline(Gain(latency=4), [3, 8, 1], moving_controls=True)
    with pytest.raises(LawBroken, match="latency of 4 samples and looks 0"):
        laws.no_look_ahead(Gain(latency=4), phases=8)


def test_a_controller_that_reads_ahead_is_found():
    with pytest.raises(LawBroken, match="latency of 0 samples"):
        laws.no_look_ahead(Follower(reads_ahead=True), phases=8)


class Shifted(SteppedLeaky):
    """Processor whose blocks start with the audio."""

    def forward(self, audio, parameters, state=None):
        leak = parameters["leak"]
        if isinstance(leak, Steps):
            leak = leak.values.repeat_interleave(leak.block_size, -1)[:, : audio.shape[-1]]
        return super().forward(audio, {"leak": leak}, state)


def test_a_processor_with_steps_equals_one_with_samples():
    assert laws_steps.steps_are_their_samples(SteppedLeaky()) < 1e-12
    assert laws_steps.steps_are_their_samples(Leaky()) == 0
    with pytest.raises(LawBroken, match=r"steps are their samples \(Shifted\)"):
        laws_steps.steps_are_their_samples(Shifted(), cuts=[20, 30])


@pytest.mark.parametrize(("blocks", "skip"), [(2, 1), (3, 4)])
def test_steps_cover_the_samples(blocks, skip):
    class Short(Peaks):
        def forward(self, audio, controls=None, state=None):
            steps, after = super().forward(audio, controls, state)
            return steps._replace(values=steps.values[..., -blocks:], skip=skip), after

    with pytest.raises(LawBroken, match=r"steps cover the samples \(Short\): . steps of 4 samples"):
        laws.items_are_independent(Short(), time=11)


def test_processor_parameters_cover_their_physical_range():
    peak = laws.silence_gives_no_nan(Gain())
    assert peak == pytest.approx(10 ** (12 / 20))


def test_right_scores_keep_every_law():
    for law in (laws_scores.loss_is_per_item, laws_scores.loss_is_zero_at_equality, laws_scores.loss_survives_silence):
        law(Absolute())
    assert laws_scores.loss_takes_what_it_declares(Absolute()) == 1
    for law in (laws_scores.metric_is_a_sum, laws_scores.metric_at_equality, laws_scores.metric_survives_silence):
        law(ErrorToSignal())
    assert laws_scores.metric_takes_any_length(ErrorToSignal()) > 3


@pytest.mark.parametrize(
    ("law", "reduce"),
    [
        (laws_scores.loss_is_per_item, lambda error: error.abs().mean()),
        (laws_scores.loss_is_per_item, lambda error: error.abs().mean((1, 2)) / error.abs().max()),
        (laws_scores.loss_is_zero_at_equality, lambda error: error.abs().mean((1, 2)) + 1),
        (laws_scores.loss_is_zero_at_equality, lambda error: 0 * error.mean((1, 2))),
        (laws_scores.loss_survives_silence, lambda error: error.square().mean((1, 2)).sqrt()),
        (laws_scores.loss_takes_what_it_declares, lambda error: error[..., 1:].mean((1, 2))),
        (laws_scores.loss_takes_what_it_declares, lambda error: error.unfold(-1, 2, 1).mean((1, 2, 3))),
    ],
)
def test_a_wrong_loss_breaks_its_law(law, reduce):
    with pytest.raises(LawBroken, match="Absolute"):
        law(Absolute(reduce))


class OverTheBatch(ErrorToSignal):
    def statistics(self, prediction, target):
        return super().statistics(prediction, target).mean(0, keepdim=True).expand(2, -1)


class Single(ErrorToSignal):
    def statistics(self, prediction, target):
        return super().statistics(prediction, target).float()


class Framed(ErrorToSignal):
    def statistics(self, prediction, target):
        return super().statistics(prediction.unfold(-1, 8, 1)[..., 0], target.unfold(-1, 8, 1)[..., 0])


class Blind(ErrorToSignal):
    def value(self, sums):
        return 0.0


def test_a_wrong_metric_breaks_its_law():
    for law, metric in [
        (laws_scores.metric_is_a_sum, OverTheBatch()),
        (laws_scores.metric_is_a_sum, Single()),
        (laws_scores.metric_at_equality, Blind()),
        (laws_scores.metric_survives_silence, ErrorToSignal(floor=0)),
        (laws_scores.metric_takes_any_length, Framed()),
    ]:
        with pytest.raises(LawBroken, match=type(metric).__name__):
            law(metric)
