"""Models that remember their position can begin anywhere in a file: in training, validation and test."""

from __future__ import annotations

import pytest
import torch

from nablafx_core.errors import ModelError
from nablafx_core.graybox import GrayBox, Parallel, Stage
from nablafx_core.graybox.topology import Mix
from nablafx_core.interfaces.position import state_at
from nablafx_core.playing.streaming import Streamer, stream_blocks
from nablafx_core.testing.laws_position import begins_anywhere
from nablafx_core.testing.subject import LawBroken
from reference.parts import Peaks
from reference.toys import Echo, Follower, Gain
from reference.tremolo import Idle, Level, Swinging, Tremolo, TremoloProcessor, gain

FIRST = 1234


def fixed(processor, **values):
    return Stage(processor, Idle(), values)


CHAINS = {
    "alone": (lambda: [fixed(TremoloProcessor())], lambda g: g),
    "behind latency": (
        lambda: [fixed(Level(latency=5), level=0.5), fixed(TremoloProcessor(latency=3)), fixed(TremoloProcessor())],
        lambda g: 0.5 * g * g,
    ),
    "controller": (
        lambda: [fixed(Level(latency=9), level=1.0), Stage(Level(latency=2), Swinging())],
        lambda g: g,
    ),
    "branches": (
        lambda: [
            Parallel(
                ((fixed(TremoloProcessor(latency=4)),), (Stage(Level(latency=7), Swinging()),)),
                fixed(Mix(2, 1000), mix=0.25),
            )
        ],
        lambda g: g,
    ),
}


@pytest.fixture(params=CHAINS)
def chain(request):
    """Return a chain, and its effect on a signal given the gains of the tremolo."""
    stages, expected = CHAINS[request.param]
    return GrayBox.from_stages(stages(), sample_rate=1000).double().eval(), expected


def signal(time=700, batch=3, channels=1):
    return torch.randn(batch, channels, time, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class TestChains:
    def test_every_part_receives_the_position_of_its_first_sample(self, chain):
        model, expected = chain
        audio, starts = signal(), torch.tensor([0, FIRST, -50])
        swing = gain(starts[:, None] + torch.arange(700), 1000)[:, None]
        assert model.remembers_position
        torch.testing.assert_close(model.offline(audio, None, starts), audio * expected(swing))
        torch.testing.assert_close(model.offline(audio, start=FIRST)[1], (audio * expected(swing))[1])

    @pytest.mark.parametrize("block_size", [1, [64, 3, 200]])
    def test_a_stream_can_start_at_any_position(self, chain, block_size):
        model, _ = chain
        audio, starts = signal(300, batch=2, channels=2), torch.tensor([FIRST, -7])
        found = stream_blocks(model, audio, None, block_size, starts)
        for channel in (0, 1):
            expected = model.offline(audio[:, channel : channel + 1], None, starts)
            torch.testing.assert_close(found[:, channel : channel + 1], expected)

    def test_the_law_holds(self, chain):
        begins_anywhere(chain[0])

    def test_a_chain_that_does_not_remember_its_position_receives_none(self):
        model = GrayBox.from_stages([fixed(Level(), level=1.0)], sample_rate=1000)
        assert not model.remembers_position
        torch.testing.assert_close(model.offline(signal(10).float(), start=5), signal(10).float())


class TestLaw:
    @pytest.mark.parametrize("subject", [Tremolo, TremoloProcessor, Swinging, Echo, Gain, Follower, Peaks])
    def test_the_law_holds_for_correct_models(self, subject):
        begins_anywhere(subject())

    @pytest.mark.parametrize(
        ("fault", "told"),
        [
            ({"declares": False}, r"Tremolo.*set remembers_position = True"),
            ({"fault": "late"}, r"Tremolo.*Its initial state at `start`"),
            ({"fault": "whole"}, r"Tremolo.*start = 0 "),
        ],
    )
    def test_the_law_fails_for_faulty_models(self, fault, told):
        with pytest.raises(LawBroken, match=told):
            begins_anywhere(Tremolo(**fault))

    @pytest.mark.parametrize("cycles", [0.01, 0.07, 0.25, 0.5, 0.93, 3.07])
    @pytest.mark.parametrize("phase", [0.0, 0.6])
    def test_the_law_detects_oscillators_of_any_rate(self, cycles, phase):
        """At 0.07 cycles between two tested positions, the rise of a sine resembles the decay of a transient."""

        class Slow(Tremolo):
            def forward(self, audio, controls=None, state=None):
                n, after = self._positions(audio, state)
                return audio * (1.5 + torch.sin(2 * torch.pi * (phase + cycles * n / 4099)))[:, None], after

        with pytest.raises(LawBroken, match="Slow"):
            begins_anywhere(Slow(declares=False))

    def test_the_law_detects_an_oscillator_with_an_initial_depth_of_zero(self):
        class Deep(Tremolo):
            def __init__(self):
                super().__init__(declares=False)
                self.depth = torch.nn.Parameter(torch.zeros(1))

            def forward(self, audio, controls=None, state=None):
                swung, after = super().forward(audio, controls, state)
                return audio + self.depth * (swung - audio), after

        with pytest.raises(LawBroken, match="Deep"):
            begins_anywhere(Deep())

    def test_a_part_that_settles_in_silence_does_not_depend_on_its_position(self):
        class Settling(Tremolo):
            def forward(self, audio, controls=None, state=None):
                n, after = self._positions(audio, state)
                return audio * (1 + torch.exp(-n / 3000))[:, None], after

        begins_anywhere(Settling(declares=False))


class TestStateAt:
    def test_a_part_that_does_not_remember_its_position_receives_none(self):
        assert state_at(Gain(2), 3, {"gain_db": torch.zeros(3)}, 99)["past"].shape == (3, 1, 2)

    @pytest.mark.parametrize("start", [5, torch.tensor(5), torch.tensor([5, 5], dtype=torch.int16)])
    def test_accepted_forms_of_a_position(self, start):
        assert state_at(Tremolo(), 2, None, start)["n"].tolist() == [5, 5]

    @pytest.mark.parametrize("start", [torch.tensor([5]), torch.tensor([5.0, 6.0]), torch.tensor([True, False])])
    def test_invalid_positions_are_rejected(self, start):
        with pytest.raises(ModelError, match=r"Tremolo: start: .* \(2,\)"):
            state_at(Tremolo(), 2, None, start)

    def test_a_part_that_remembers_its_position_must_accept_a_start(self):
        class Old(Gain):
            remembers_position = True

        class Whole(Tremolo):
            streams = False

        with pytest.raises(
            ModelError, match="Old declares remembers_position, but its initial_state takes no argument"
        ):
            state_at(Old(), 1, {"gain_db": torch.zeros(1)})
        with pytest.raises(ModelError, match="Whole declares remembers_position but has no stream"):
            Whole().offline(signal(10).float(), start=3)


def test_a_streamer_begins_at_the_given_position():
    streamer = Streamer(Tremolo(), start=FIRST)
    out = torch.cat([streamer.push(block.float()) for block in signal(400).split(80, dim=-1)], dim=-1)
    expected = signal(400) * gain(FIRST + torch.arange(400), 1000)
    torch.testing.assert_close(out.double(), expected, atol=1e-6, rtol=0)
