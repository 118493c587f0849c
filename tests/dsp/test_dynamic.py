"""Controllers driven by the audio: NablAFx 1.0's output, the explicit equation, and the laws, also in chains."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nablafx_core.controls import Control
from nablafx_core.errors import ConfigError, ModelError
from nablafx_core.graybox import GrayBox, describe
from nablafx_core.profiling import count_macs
from nablafx_core.steps import Steps
from nablafx_core.testing import laws, laws_gradients, laws_saving
from nablafx_dsp.controllers.dynamic import Dynamic, DynamicConditional
from nablafx_dsp.controllers.static import StaticConditional

pytestmark = pytest.mark.slow

PARITY = Path(__file__).parent / "parity"
KNOBS = (Control("drive"), Control("tone"))
CUTS = st.lists(st.integers(1, 40), min_size=1, max_size=6)
VARIANTS = {
    "held": {},
    "linear": {"interpolation": "linear"},
    "held, no look-ahead": {"lookahead": False},
    "linear, no look-ahead": {"lookahead": False, "interpolation": "linear"},
}
every_variant = pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
each_kind = pytest.mark.parametrize("knobs", [0, 2], ids=["dynamic", "dynamic_cond"])


def controller(knobs, variant, block_size=8, num_layers=1):
    torch.manual_seed(0)
    made = DynamicConditional if knobs else Dynamic
    drives = made(3, knobs, block_size=block_size, num_layers=num_layers, **variant)
    for weight in drives.parameters():
        torch.nn.init.normal_(weight)
    return drives


def test_parity_with_nablafx():
    stored = torch.load(PARITY / "ctrl_dynamic.pt", weights_only=True)
    dynamic = Dynamic(1)
    dynamic.load_state_dict(stored["state_dict"])
    steps, _ = dynamic(stored["x"])
    torch.testing.assert_close(steps.values, stored["y"], rtol=0, atol=1e-6)
    assert (steps.skip, steps.block_size) == (0, 128)
    stored = torch.load(PARITY / "ctrl_static_cond.pt", weights_only=True)
    static = StaticConditional(15, 2)
    static.load_state_dict(stored["state_dict"])
    torch.testing.assert_close(static(stored["controls"], stored["controls"])[0], stored["y"], rtol=0, atol=1e-6)


def by_hand(drives, audio, controls):
    """Compute the equation of the class, block by block and sample by sample."""
    size, (batch, _, time) = drives.block_size, audio.shape
    (w_ih, w_hh, b_ih, b_hh), loudest, steps = drives.lstm.all_weights[0], audio.new_zeros(batch, 1), []
    h = c = audio.new_zeros(batch, 3)
    for start in range(0, time, size):
        peak = audio[:, 0, start : start + size].abs().amax(-1, keepdim=True)
        heard, loudest = (peak if drives.lookahead else loudest), peak
        if drives.num_controls:
            heard = torch.cat([heard, controls if controls.ndim == 2 else controls[..., start]], -1)
        i, f, g, o = (heard @ w_ih.T + b_ih + h @ w_hh.T + b_hh).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        steps.append(h.sigmoid())
    values = []
    for t in range(time):
        step, before, part = steps[t // size], steps[max(t // size - 1, 0)], (t % size + 1) / size
        values.append(step if drives.interpolation == "held" else before + (step - before) * part)
    return torch.stack(values, -1)


@every_variant
@each_kind
@pytest.mark.parametrize("time", [1, 7, 8, 9, 50])
@pytest.mark.parametrize("moving", [False, True])
def test_it_computes_its_equation(variant, knobs, time, moving):
    drives, generator = controller(knobs, variant).double(), torch.Generator().manual_seed(1)
    audio = torch.randn(2, 1, time, generator=generator, dtype=torch.float64)
    shape = (2, knobs, time) if moving else (2, knobs)
    controls = torch.rand(shape, generator=generator, dtype=torch.float64) if knobs else None
    unit, _ = drives(audio, controls)
    assert isinstance(unit, Steps) == (drives.interpolation == "held")
    unit = unit.over(time) if isinstance(unit, Steps) else unit
    torch.testing.assert_close(unit, by_hand(drives, audio, controls), rtol=0, atol=1e-12)


@every_variant
@each_kind
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@settings(max_examples=15)
@given(cuts=CUTS, moving=st.booleans())
def test_stream_equals_offline(variant, knobs, dtype, cuts, moving):
    laws.stream_equals_offline(controller(knobs, variant, num_layers=2), cuts, dtype=dtype, moving_controls=moving)


@every_variant
@each_kind
def test_the_other_laws(variant, knobs):
    drives = controller(knobs, variant)
    laws.items_are_independent(drives)
    assert laws.no_look_ahead(drives, phases=16) == (7 if variant.get("lookahead", True) else 0)
    laws.silence_gives_no_nan(drives)
    laws_gradients.every_control_moves_output(drives)
    laws_gradients.every_parameter_moves_output(drives)
    laws_gradients.gradients_are_right(drives, moving_controls=bool(knobs))
    laws_gradients.gradients_are_finite(drives)
    laws_saving.saves_what_it_loads(drives, lambda: controller(knobs, variant))


@pytest.mark.parametrize("cut", [1, 5, 8, 19])
@every_variant
def test_the_state_after_offline_continues_as_a_stream(variant, cut):
    drives = controller(2, variant).double()
    audio, controls = torch.randn(1, 1, 40, dtype=torch.float64), torch.rand(1, 2, 40, dtype=torch.float64)
    _, offline = drives(audio[..., :cut], controls[..., :cut])
    _, streamed = drives(audio[..., :cut], controls[..., :cut], drives.initial_state(1))
    torch.testing.assert_close(offline, streamed, rtol=0, atol=0)


def test_it_costs_its_matrices_once_in_a_block():
    assert count_macs(Dynamic(3)) == (4 * 3 * (1 + 3) / 128, ())


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Dynamic(1, block_size=0), ConfigError, "block_size .* 0"),
        (lambda: Dynamic(1, interpolation="cubic"), ConfigError, "interpolation 'cubic'"),
        (lambda: DynamicConditional(1), ModelError, "dynamic_cond.* Use 'dynamic'"),
    ],
)
def test_invalid_settings_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def dynamic(name="dynamic", **settings):
    return {"name": name, "block_size": 8, **settings}


#: Controllers of a gain, a filter and an offset in a line, and the latency of the chain.
CHAINS = {
    "of the chain": ([dynamic(), dynamic(), dynamic()], 7),
    "of the chain, several blocks": ([dynamic(), dynamic(block_size=5), dynamic(block_size=12)], 11),
    "of their processors": (
        [dynamic(reads="processor", block_size=4), dynamic(reads="processor", block_size=3), "static"],
        5,
    ),
    "interpolated": ([dynamic(interpolation="linear"), dynamic(), dynamic(interpolation="linear", block_size=3)], 7),
    "without latency": ([dynamic(lookahead=False), dynamic(lookahead=False, reads="processor"), "static"], 0),
}
every_chain = pytest.mark.parametrize(("drives", "latency"), CHAINS.values(), ids=CHAINS)
with_knobs = pytest.mark.parametrize("knobs", [(), KNOBS], ids=["", "knobs"])


def chain(drives, knobs):
    torch.manual_seed(0)
    if knobs:
        drives = [{**each, "name": "dynamic_cond"} if isinstance(each, dict) else "static_cond" for each in drives]
    parts = [{"name": "gain", "max_gain_db": 6}, {"name": "biquad", "type": "peaking"}, {"name": "dc_offset"}]
    sections = [{**part, "controller": drive} for part, drive in zip(parts, drives, strict=True)]
    return GrayBox(sections, controls=knobs)


@every_chain
@with_knobs
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@settings(max_examples=10)
@given(cuts=CUTS, moving=st.booleans())
def test_any_partition_of_a_chains_stream_is_its_offline_output(drives, latency, knobs, dtype, cuts, moving):
    laws.stream_equals_offline(chain(drives, knobs), cuts, dtype=dtype, moving_controls=moving)


@every_chain
@with_knobs
def test_the_other_laws_of_a_chain(drives, latency, knobs):
    model = chain(drives, knobs)
    assert model.latency == latency == laws.no_look_ahead(model, phases=24)  # blocks coincide every 12 samples
    laws.items_are_independent(model, time=60)
    laws.silence_gives_no_nan(model, time=60)
    laws_gradients.every_control_moves_output(model, time=60)
    laws_gradients.every_parameter_moves_output(model, time=60)
    laws_gradients.gradients_are_right(model, moving_controls=bool(knobs))
    laws_saving.saves_what_it_loads(model, lambda: chain(drives, knobs), time=60)


@every_chain
def test_gradients_go_through_the_state_of_a_chain(drives, latency):
    model = chain(drives, ()).double()
    audio = torch.randn(2, 1, 60, dtype=torch.float64)
    weights = list(model.parameters())
    whole = torch.autograd.grad(model(audio)[0].square().sum(), weights)
    outputs, state = [], model.initial_state(2)
    for block in audio.split([3, 18, 39], -1):
        out, state = model(block, None, state)
        outputs.append(out)
    streamed = torch.cat([*outputs, model.flush(state)], -1)[..., latency:]
    torch.testing.assert_close(torch.autograd.grad(streamed.square().sum(), weights), whole)


def test_parameters_that_follow_the_audio_have_no_value_to_describe():
    described = describe(chain([dynamic(), "static", dynamic(interpolation="linear")], ()))
    assert [line.value is None for line in described] == [True, False, False, False, True]
