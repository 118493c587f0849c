"""The laws hold for every architecture with every setting that changes its structure."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nablafx_core.controls import Control
from nablafx_core.playing.streaming import stream_blocks
from nablafx_core.testing import laws, laws_gradients, laws_saving
from nablafx_models.gcn import GCN
from nablafx_models.lstm import LSTM
from nablafx_models.s4 import S4
from nablafx_models.tcn import TCN

pytestmark = pytest.mark.slow

KNOBS = [Control("drive"), Control("tone", 20, 20000, "Hz", "log"), Control("mode", positions=("a", "b", "c"))]
SMALL = {"num_blocks": 3, "kernel_size": 3, "dilation_growth": 2, "channel_width": 4}
FILM = SMALL | {"conditioning": "film", "controls": KNOBS}
CONCATENATED = SMALL | {"conditioning": "concatenated", "controls": KNOBS}
CENTRED = {"causal": False}
BLOCKS = {"cond_block_size": 7}
SMALL_S4 = {"num_blocks": 2, "num_states": 3, "channel_width": 4, "pre_roll": 30}
SMALL_LSTM = {"hidden_size": 4, "pre_roll": 30}
WITH_KNOBS = {"controls": KNOBS}
#: Those that are not here work in blocks, so a new conditioning is tested with and without look-ahead.
WITHOUT_BLOCKS = ("none", "film", "concatenated")


def in_blocks():
    """Yield every architecture with every conditioning that works in blocks, with look-ahead and without."""
    small = {"tcn": (TCN, SMALL), "gcn": (GCN, SMALL), "s4": (S4, SMALL_S4)}
    ways = ("tfilm", "ttfilm", "tvfilm", "tv_concatenated")
    pairs = [(name, way, (i + j) % 2 == 0) for i, name in enumerate(small) for j, way in enumerate(ways)]
    pairs += [("lstm", "tv_concatenated", True), ("lstm", "tv_concatenated", False)]
    for name, conditioning, lookahead in pairs:
        model_class, arguments = small.get(name, (LSTM, SMALL_LSTM))
        knobs = WITH_KNOBS if lookahead != (conditioning == "ttfilm") else {}
        settings = arguments | BLOCKS | knobs | {"conditioning": conditioning, "lookahead": lookahead}
        yield f"{name} {conditioning} {'' if lookahead else 'no '}look-ahead", (model_class, settings)


CASES = {
    "tcn": (TCN, SMALL),
    "tcn late residual": (TCN, SMALL | {"residual_delay": 1, "direct_path": True}),
    "tcn direct, batch norm, prelu": (TCN, SMALL | {"direct_path": True, "norm": "batch", "activation": "prelu"}),
    "tcn bare": (TCN, SMALL | {"residual": False, "bias": False, "activation": "gelu"}),
    "tcn centred": (TCN, SMALL | CENTRED | {"direct_path": True}),
    "tcn film": (TCN, FILM | {"norm": "batch"}),
    "tcn film centred": (TCN, FILM | CENTRED | {"direct_path": True}),
    "tcn concatenated": (TCN, CONCATENATED | {"channel_growth": 2}),
    "tcn concatenated centred": (TCN, CONCATENATED | CENTRED),
    "tcn 1x1": (TCN, {"kernel_size": 1, "num_blocks": 2, "conditioning": "film", "controls": KNOBS}),
    "lstm": (LSTM, {"hidden_size": 5, "pre_roll": 30}),
    "lstm deep": (LSTM, {"hidden_size": 4, "num_layers": 2, "residual": False, "direct_path": True, "pre_roll": 0}),
    "lstm concatenated": (LSTM, {"hidden_size": 5, "conditioning": "concatenated", "controls": KNOBS, "pre_roll": 30}),
    "gcn": (GCN, SMALL),
    "gcn late sums": (GCN, SMALL | {"residual_delay": 1, "direct_path": True, "channel_growth": 2}),
    "gcn centred": (GCN, SMALL | CENTRED | {"direct_path": True, "norm": "batch", "residual": False}),
    "gcn film centred": (GCN, FILM | CENTRED | {"norm": "batch"}),
    "gcn concatenated": (GCN, CONCATENATED),
    "s4": (S4, SMALL_S4),
    "s4 bare": (S4, SMALL_S4 | {"residual": False, "direct_path": True, "activation": "prelu", "pre_roll": 0}),
    "s4 film": (S4, SMALL_S4 | {"conditioning": "film", "norm": "batch"} | WITH_KNOBS),
    "s4 concatenated, rational": (
        S4,
        SMALL_S4 | {"conditioning": "concatenated", "activation": "rational"} | WITH_KNOBS,
    ),
    "tcn tfilm centred, deep": (
        TCN,
        SMALL | CENTRED | BLOCKS | WITH_KNOBS | {"conditioning": "tfilm", "cond_num_layers": 2, "direct_path": True},
    ),
    "gcn tvfilm centred": (
        GCN,
        SMALL | CENTRED | BLOCKS | WITH_KNOBS | {"conditioning": "tvfilm", "direct_path": True},
    ),
    **dict(in_blocks()),
}

every_case = pytest.mark.parametrize(("model_class", "arguments"), CASES.values(), ids=CASES)


def built(model_class, arguments):
    torch.manual_seed(0)
    return model_class(**arguments)


@every_case
def test_stream_equals_offline(model_class, arguments):
    model = built(model_class, arguments)

    @settings(max_examples=16)
    @given(
        cuts=st.lists(st.integers(1, 40), min_size=1, max_size=6),
        dtype=st.sampled_from([torch.float64, torch.float32]),
        moving=st.booleans(),
    )
    def check(cuts, dtype, moving):
        laws.stream_equals_offline(model, cuts, dtype=dtype, moving_controls=moving)

    check()


@every_case
def test_stream_sample_by_sample(model_class, arguments):
    laws.stream_equals_offline(built(model_class, arguments), [1] * 40, moving_controls=True, batch_size=1)


@every_case
def test_stereo_is_rendered_channel_by_channel(model_class, arguments):
    model = built(model_class, arguments).double().eval()
    audio = torch.rand(2, 2, 50, dtype=torch.float64)
    controls = torch.rand(2, len(model.controls), 50, dtype=torch.float64) if model.controls else None
    with torch.no_grad():
        expected = torch.cat([model(channel, controls)[0] for channel in audio.split(1, dim=1)], dim=1)
    torch.testing.assert_close(stream_blocks(model, audio, controls, [7, 16]), expected, atol=1e-12, rtol=0)


@every_case
def test_no_item_sees_another_and_no_sample_sees_the_future(model_class, arguments):
    model = built(model_class, arguments)
    laws.items_are_independent(model)
    assert laws.no_look_ahead(model) == model.latency
    waits = arguments.get("conditioning", "none") not in WITHOUT_BLOCKS and arguments.get("lookahead", True)
    assert (model.latency == 0) == (model.causal and not waits)


@pytest.mark.parametrize(
    ("model_class", "arguments", "moving"),
    [(*case, number % 2 == 1) for number, case in enumerate(CASES.values())],
    ids=CASES,
)
def test_controls_and_parameters_move_the_output_and_have_right_gradients(model_class, arguments, moving):
    model = built(model_class, arguments)
    laws_gradients.every_control_moves_output(model)
    laws_gradients.every_parameter_moves_output(model)
    laws_gradients.gradients_are_right(model, moving_controls=moving)
    laws_gradients.gradients_are_finite(model)


@every_case
def test_silence_and_saving(model_class, arguments):
    laws.silence_gives_no_nan(built(model_class, arguments))
    laws_saving.saves_what_it_loads(built(model_class, arguments), lambda: model_class(**arguments))


@every_case
def test_a_stream_continues_from_the_state_after_an_offline_call(model_class, arguments):
    model = built(model_class, arguments).double().eval()
    audio = torch.rand(2, 1, 50, dtype=torch.float64)
    controls = torch.rand(2, len(model.controls), 50, dtype=torch.float64) if model.controls else None
    for knobs in (controls, None if controls is None else controls[..., 0]):
        head = knobs[..., :30] if knobs is not None and knobs.ndim == 3 else knobs
        tail = knobs[..., 30:] if knobs is not None and knobs.ndim == 3 else knobs
        with torch.no_grad():
            whole = model(audio, knobs)[0]
            _, state = model(audio[..., :30], head)
            rest = model(audio[..., 30:], tail, state)[0]
        torch.testing.assert_close(rest, whole[..., 30 - model.latency : 50 - model.latency], atol=1e-12, rtol=0)
