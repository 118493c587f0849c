"""Rendering block by block equals rendering at once."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nablafx_core.errors import ModelError
from nablafx_core.playing import streaming
from nablafx_core.playing.streaming import Streamer, stream_blocks
from reference.toys import Echo


@given(
    st.one_of(st.integers(1, 40), st.lists(st.integers(0, 9), max_size=5).map(lambda cuts: [*cuts, 4])),
    st.sampled_from(["default", "shared", "constant", "moving"]),
    st.integers(1, 2),
    st.integers(0, 5),
    st.integers(1, 30),
)
def test_stream_blocks_equals_the_offline_output(block_size, kind, channels, latency, time):
    model = Echo(latency).double()
    audio = torch.rand(2, channels, time, dtype=torch.float64)
    moving = torch.rand(2, 1, time, dtype=torch.float64)
    controls = {"default": None, "shared": moving[0, :, 0], "constant": moving[..., 0], "moving": moving}[kind]
    out = stream_blocks(model, audio, controls, block_size)
    per_item = controls.expand(2, -1) if kind == "shared" else controls
    with torch.no_grad():
        expected = torch.cat([model(audio[:, c : c + 1], per_item)[0] for c in range(channels)], 1)
    torch.testing.assert_close(out, expected, atol=1e-12, rtol=0)


def test_knobs_can_be_turned_between_blocks():
    model = Echo(0)
    streamer = Streamer(model, torch.tensor([0.0]))
    audio = torch.rand(1, 2, 10)
    quiet = streamer.push(audio)
    streamer.controls = torch.tensor([1.0])
    loud = streamer.push(audio)
    weight = model.weight.detach()
    torch.testing.assert_close(quiet, audio * (1 + 0.5 * weight))
    torch.testing.assert_close(loud, audio * (1 + 1.5 * weight))
    assert not loud.requires_grad
    assert streamer.flush().shape == (1, 2, 0)


def test_a_block_with_another_shape_is_rejected():
    streamer = Streamer(Echo())
    streamer.push(torch.rand(1, 2, 4))
    with pytest.raises(ModelError, match=r"\(1, 1, 4\).*\(1, 2\)"):
        streamer.push(torch.rand(1, 1, 4))
    assert streamer.push(torch.rand(1, 2, 0)).shape == (1, 2, 0)


def test_unsupported_streams_are_errors():
    model = Echo()
    model.streams = False
    with pytest.raises(ModelError, match="Echo needs the whole file"):
        Streamer(model)
    with pytest.raises(ModelError, match="cannot be flushed"):
        Streamer(Echo()).flush()
    for block_size in (0, [], [3, 0], [-5, 5]):
        with pytest.raises(ModelError, match="block_size"):
            stream_blocks(Echo(), torch.rand(1, 1, 4), None, block_size)
    assert stream_blocks(Echo(), torch.rand(1, 2, 0)).shape == (1, 2, 0)


@pytest.mark.parametrize("value", [-0.01, 1.01, float("nan"), float("inf")])
@pytest.mark.parametrize("shape", [(1,), (2, 1), (2, 1, 10)])
def test_a_control_outside_its_range_is_rejected_by_name(value, shape):
    controls = torch.full(shape, 0.5)
    controls[..., -1] = value
    message = r"control 'knob' is at (-0.01|1.01|nan|inf); .* \[0, 1\]"
    for block_size in (3, 10):
        with pytest.raises(ModelError, match=message):
            stream_blocks(Echo(2), torch.rand(2, 1, 10), controls, block_size)


def test_turning_a_knob_outside_its_range_is_rejected():
    streamer = Streamer(Echo(0), torch.tensor([1.0]))
    streamer.push(torch.rand(1, 1, 4))
    streamer.controls = torch.tensor([1.5])
    with pytest.raises(ModelError, match="control 'knob' is at 1.5"):
        streamer.push(torch.rand(1, 1, 4))


def test_controls_that_do_not_change_are_checked_once(monkeypatch):
    looked = []
    monkeypatch.setattr(streaming, "check_positions", lambda model, controls: looked.append(controls))
    streamer = Streamer(Echo(0), torch.tensor([0.5]))
    for _ in range(5):
        streamer.push(torch.rand(1, 1, 4))
    assert len(looked) == 1
