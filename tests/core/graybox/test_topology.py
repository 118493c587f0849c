"""Branches and side-chains of a gray-box model: their output, the laws, and rejected settings."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nablafx_core import build, load
from nablafx_core.bundles.bundle import save_bundle
from nablafx_core.config import load_experiment
from nablafx_core.controls import Control
from nablafx_core.errors import ConfigError
from nablafx_core.graybox import GrayBox, Mix, Parallel, Sidechain, Stage, describe
from nablafx_core.profiling import count_macs
from nablafx_core.testing import laws, laws_gradients, laws_saving
from nablafx_core.testing.subject import error
from reference.parts import Ahead, Envelope, Leaky, Peaks, Setting, SteppedLeaky, chain

pytestmark = pytest.mark.slow


def stage(processor=Leaky, controller=Setting, label=None, knobs=0, **arguments):
    return Stage(processor(), controller(num_controls=knobs, **arguments), label=label)


def parallel(*branches, controller=Setting, label=None, knobs=0, **arguments):
    mix = Mix(len(branches))
    if controller is Setting:
        arguments["num_parameters"] = len(mix.effect_parameters)
    return Parallel(branches, Stage(mix, controller(num_controls=knobs, **arguments)), label)


#: Chains as functions of the number of knobs, and the latency of each, computed by hand.
CHAINS = {
    "dry and wet": (lambda k: [parallel((), (stage(Leaky, knobs=k),), knobs=k)], 0),
    "dry and late": (lambda k: [parallel((stage(Ahead, knobs=k),), (), knobs=k)], 3),
    "three": (
        lambda k: [parallel((stage(Ahead, knobs=k), stage(Ahead, knobs=k)), (stage(knobs=k),), (), knobs=k)],
        6,
    ),
    "a mix that is late": (
        lambda k: [stage(Ahead, knobs=k), parallel((stage(knobs=k),), (), controller=Envelope, lag=5, knobs=k)],
        5,
    ),
    "a mix that hears what the branches are given": (
        lambda k: [
            stage(Ahead, knobs=k),
            parallel((stage(Ahead, knobs=k),), (), controller=Envelope, lag=4, reads="processor", knobs=k),
        ],
        7,
    ),
    "branches that hear": (
        lambda k: [
            stage(Ahead, knobs=k),
            parallel(
                (stage(Leaky, Envelope, lag=1, knobs=k), stage(Ahead, knobs=k)),
                (stage(SteppedLeaky, Peaks, reads="processor", knobs=k),),
                knobs=k,
            ),
            stage(Leaky, knobs=k),
        ],
        6,
    ),
    "in each other": (
        lambda k: [
            parallel(
                (parallel((stage(Ahead, knobs=k),), (), knobs=k), stage(Leaky, knobs=k)),
                (stage(Ahead, Envelope, lag=2, knobs=k),),
                knobs=k,
            ),
            stage(Ahead, knobs=k),
        ],
        8,
    ),
    "a side-chain": (
        lambda k: [
            Sidechain((stage(Leaky, knobs=k), stage(Ahead, knobs=k)), "detector"),
            stage(Leaky, Envelope, lag=4, reads="detector", knobs=k),
        ],
        7,
    ),
    "a label of before": (
        lambda k: [
            stage(Ahead, label="early", knobs=k),
            stage(Ahead, knobs=k),
            parallel((stage(Leaky, Envelope, lag=5, reads="early", label="inner", knobs=k),), (), knobs=k),
            stage(Leaky, Peaks, reads="inner", knobs=k),
        ],
        11,
    ),
}
every_chain = pytest.mark.parametrize(("line", "latency"), CHAINS.values(), ids=CHAINS)
with_knobs = pytest.mark.parametrize("knobs", [(), (Control("amount"),)], ids=["", "knob"])


def built(line, knobs=()):
    return GrayBox.from_stages(line(len(knobs)), controls=knobs)


def sounds(knobs, time, moving, channels=1):
    generator = torch.Generator().manual_seed(0)
    audio = torch.rand(2, channels, time, generator=generator, dtype=torch.float64) * 2 - 1
    shape = (2, len(knobs), time) if moving else (2, len(knobs))
    return audio, torch.rand(shape, generator=generator, dtype=torch.float64) if knobs else None


@every_chain
@with_knobs
@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("time", [40, 6, 1])
def test_the_offline_output_equals_that_of_the_parts(line, latency, knobs, moving, time):
    items = line(len(knobs))
    model = GrayBox.from_stages(items, controls=knobs).double()
    audio, controls = sounds(knobs, time, moving)
    assert model.latency == latency
    torch.testing.assert_close(model(audio, controls)[0], chain(items, audio, controls), rtol=0, atol=1e-12)


@every_chain
@with_knobs
@settings(max_examples=15)
@given(cuts=st.lists(st.integers(1, 12), min_size=1, max_size=6), moving=st.booleans())
def test_stream_equals_offline(line, latency, knobs, cuts, moving):
    laws.stream_equals_offline(built(line, knobs), cuts, moving_controls=moving)


@every_chain
@with_knobs
def test_the_other_laws(line, latency, knobs):
    model = built(line, knobs)
    assert laws.no_look_ahead(model, phases=12) == latency
    laws.items_are_independent(model, time=40)
    laws.silence_gives_no_nan(model, time=40)
    laws_gradients.every_control_moves_output(model, time=40)
    laws_gradients.every_parameter_moves_output(model, time=40)
    laws_gradients.gradients_are_right(model, moving_controls=bool(knobs))
    laws_saving.saves_what_it_loads(model, lambda: built(line, knobs), time=40)


@st.composite
def lines(draw, knobs):
    """Draw a chain: up to three items with nested branches and side-chains, and a controller that reads each."""
    labels = []
    line = draw_line(draw, knobs, 2, labels, min_size=1)
    return (*line, *(stage(Leaky, Envelope, lag=0, reads=label, knobs=knobs) for label in labels))


def draw_line(draw, knobs, depth, labels, min_size=0):
    return tuple(draw_item(draw, knobs, depth, labels) for _ in range(draw(st.integers(min_size, 3))))


def draw_stage(draw, labels, make):
    reads = draw(st.sampled_from(["chain", "processor", "key", *labels]))
    kind = draw(st.sampled_from([Setting, Envelope, Peaks]))
    arguments = {Setting: {}, Envelope: {"lag": draw(st.integers(0, 4)), "reads": reads}, Peaks: {"reads": reads}}[kind]
    return make(kind, arguments)


def draw_item(draw, knobs, depth, labels):
    kind = draw(st.sampled_from(["stage", "stage", "parallel", "sidechain"] if depth else ["stage"]))
    inner = [draw_line(draw, knobs, depth - 1, labels, min_size=size) for size in BRANCHES[kind]]
    label = f"label{len(labels)}" if kind == "sidechain" or draw(st.booleans()) else None
    if kind == "sidechain":
        item = Sidechain(inner[0], label)
    elif kind == "parallel":
        item = draw_stage(
            draw, labels, lambda drive, a: parallel(*inner, controller=drive, label=label, knobs=knobs, **a)
        )
    else:
        processor = draw(st.sampled_from([Leaky, SteppedLeaky, Ahead]))
        item = draw_stage(draw, labels, lambda kind, a: stage(processor, kind, label=label, knobs=knobs, **a))
    if label:
        labels.append(label)
    return item


#: The fewest items of each line in it.
BRANCHES = {"stage": (), "sidechain": (1,), "parallel": (0, 1)}


@with_knobs
@settings(max_examples=40, deadline=None)
@given(data=st.data(), cuts=st.lists(st.integers(1, 12), min_size=1, max_size=5), moving=st.booleans())
def test_any_chain_equals_its_parts_and_streams(knobs, data, cuts, moving):
    line = data.draw(lines(len(knobs)))
    model = GrayBox.from_stages(line, controls=knobs, key_input=True).double()
    audio, controls = sounds(knobs, sum(cuts), moving, channels=2)
    with torch.no_grad():
        assert error(model(audio, controls)[0], chain(line, audio, controls)) < 1e-10
    laws.stream_equals_offline(model, cuts, moving_controls=moving)


def test_the_key_affects_only_controllers_that_read_it():
    line = [stage(Leaky, Envelope, lag=2, reads="key"), stage(Ahead)]
    model = GrayBox.from_stages(line, key_input=True).double()
    assert (model.in_channels, model.out_channels, model.latency) == (2, 1, 5)
    audio, _ = sounds((), 30, False, channels=2)
    torch.testing.assert_close(model(audio)[0], chain(line, audio), rtol=0, atol=1e-12)
    laws.stream_equals_offline(model, [3, 9, 1, 20])
    laws.no_look_ahead(model, phases=8)
    with pytest.raises(Exception, match=r"\(batch, 2, time\)"):
        model(audio[:, :1])


def test_weights_are_named_by_their_place():
    line = [
        stage(),
        parallel((stage(), parallel((), (stage(),))), (stage(),)),
        Sidechain((stage(),), "detector"),
        stage(Leaky, Envelope, lag=0, reads="detector"),
    ]
    model = GrayBox.from_stages(line)
    assert set(model.state_dict()) == {
        "controllers.0.weight",
        "controllers.1.weight",
        "processors.1.branches.0.controllers.0.weight",
        "processors.1.branches.0.controllers.1.weight",
        "processors.1.branches.0.processors.1.branches.1.controllers.0.weight",
        "processors.1.branches.1.controllers.0.weight",
        "processors.2.branches.0.controllers.0.weight",
        "controllers.3.weight",
    }
    assert [(line.place, line.index, line.processor, line.parameter) for line in describe(model)] == [
        ("0", 0, "Leaky", "leak"),
        ("1/0/0", 1, "Leaky", "leak"),
        ("1/0/1/1/0", 1, "Leaky", "leak"),
        ("1/0/1", 1, "Mix", "mix"),
        ("1/1/0", 1, "Leaky", "leak"),
        ("1", 1, "Mix", "mix"),
        ("2/0/0", 2, "Leaky", "leak"),
        ("3", 3, "Leaky", "leak"),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (lambda: [parallel()], "processors.0.parallel: parallel must have at least two branches"),
        (lambda: [parallel((stage(),))], "at least two branches"),
        (lambda: [parallel((), ())], "a processor in at least one"),
        (lambda: [Sidechain((), "a"), stage(Leaky, Envelope, lag=0, reads="a")], "at least one processor"),
        (lambda: [Sidechain((stage(),), ""), stage()], "needs a label"),
        (lambda: [Sidechain((stage(),), "a"), stage()], "no controller reads 'a'"),
        (lambda: [stage(label="key")], "'key' has another meaning"),
        (lambda: [stage(label="a"), parallel((stage(label="a"),), ())], "processors.1.parallel.0.0.label: .*'a'"),
        (lambda: [stage(label="drive"), stage(Leaky, Envelope, lag=0, reads="drvie")], "mean 'drive'.* processor, dri"),
        (lambda: [stage(Leaky, Envelope, lag=0, reads="a", label="a")], "processors.0.controller.reads: .*'a'"),
        (lambda: [stage(Leaky, Envelope, lag=0, reads="a"), stage(label="a")], "not available"),
        (
            lambda: [parallel((stage(),), (), controller=Envelope, lag=0, reads="a")],
            "processors.0.mix.controller.reads",
        ),
        (lambda: [stage(Leaky, Envelope, lag=0, reads="key")], "`key_input: true`"),
    ],
)
def test_parts_that_do_not_fit_together_are_rejected(line, message):
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        GrayBox.from_stages(line())


EXPERIMENT = """
data: {name: pair, dry: di.wav, wet: amp.wav}
model:
  name: graybox
  processors:
    - {name: gain, controller: static, label: drive}
    - sidechain: [{name: biquad, type: highpass, controller: static}]
      label: detector
    - parallel:
        - []
        - [{name: gain, controller: {name: dynamic, reads: detector}}, {name: tanh}]
      mix: {controller: static}
    - parallel: [[tanh], [{name: dc_offset, controller: static}], []]
"""


@pytest.fixture
def experiment(tmp_path):
    def written(text=EXPERIMENT):
        (tmp_path / "e.yaml").write_text(text)
        return load_experiment([tmp_path / "e.yaml"])

    return written


def test_an_experiment_describes_the_whole_chain(experiment, tmp_path):
    loaded = experiment()
    assert experiment(loaded.to_yaml()).config == loaded.config
    model = build("model", loaded.config["model"])
    assert model.latency == 127
    assert [type(stage.processor).__name__ for stage in model.stages] == [
        "Gain", "Biquad", "Gain", "Tanh", "Mix", "Tanh", "DCOffset", "Mix",
    ]  # fmt: skip
    assert [(line.place, line.controller, line.value) for line in describe(model)[-3:]] == [
        ("3", None, pytest.approx(1 / 3))
    ] * 3
    assert "processors.2.branches.1.controllers.0.lstm.weight_ih_l0" in model.state_dict()
    assert count_macs(model) == (5 + 4 * (1 + 1) / 128 + 2 + 3, ())
    save_bundle(model, tmp_path / "chain.nfx")
    audio = sounds((), 1000, False)[0].float()
    torch.testing.assert_close(load(tmp_path / "chain.nfx")(audio)[0], model.eval()(audio)[0])


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            "reads: detector",
            "reads: drvie",
            "e.yaml:11: model.processors.2.parallel.1.0.controller.reads: ",
        ),
        ("reads: detector", "reads: drive", "e.yaml:7: model.processors.1: no controller reads 'detector'"),
        ("      label: detector", "", "'sidechain' needs the setting 'label'"),
        (
            "{controller: static}",
            "{controler: static}",
            "2.mix.controler: .*Did you mean 'controller'",
        ),
        ("[[tanh], ", "[[tahn], ", "model.processors.3.parallel.0.0.name: .*'tahn'"),
        ("    - parallel: [", "    - mixx: 1\n      parallel: [", "'parallel' has no setting 'mixx'"),
        ("[[tanh], [{name: dc_offset, controller: static}], []]", "[]", "processors.3.parallel: "),
        ("[[tanh], [{name: dc_offset, controller: static}], []]", "[tanh]", "processors.3.parallel.0: .* valid array"),
    ],
)
def test_a_faulty_experiment_is_rejected_with_the_place(experiment, before, after, message):
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        experiment(EXPERIMENT.replace(before, after))
