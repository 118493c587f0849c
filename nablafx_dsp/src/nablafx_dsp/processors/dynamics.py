"""Processors that change the level by the level: compressor, limiter, expander, gate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor

from nablafx_core.controls import Centred, Parameter
from nablafx_core.errors import ModelError
from nablafx_core.interfaces import Processor
from nablafx_core.marks import Range
from nablafx_core.state import State
from nablafx_core.steps import Steps
from nablafx_dsp.functional.dynamics import (
    CURVES,
    Kind,
    Smoothing,
    dynamics_coefficients,
    dynamics_gain,
    silent_state,
)
from nablafx_dsp.functional.frames import framed

Detector = Literal["peak", "rms"]
Curves = Literal["perceptual", "linear"]

# As wide as devices are; 0.5 is in the middle of what is common, and there a learned parameter begins.
_THRESHOLD = Centred("threshold_db", -80.0, 0.0, "dB", middle=-30.0)
_OPENING = Centred("threshold_db", -90.0, 0.0, "dB", middle=-40.0)
_RATIO = Parameter("ratio", 1.0, 20.0, "", "log")
_KNEE = Parameter("knee_db", 0.0, 24.0, "dB")
_RANGE = Parameter("range_db", 0.0, 80.0, "dB")
_ATTACK = Centred("attack_ms", 0.05, 1000.0, "ms", "log", middle=5.0)
_RELEASE = Centred("release_ms", 5.0, 5000.0, "ms", "log", middle=100.0)
_MAKEUP = Parameter("makeup_db", -24.0, 36.0, "dB")
_RMS = Centred("rms_ms", 1.0, 300.0, "ms", "log", middle=10.0)

#: The parameters of each kind, and their ranges where the experiment does not say.
PARAMETERS: dict[str, tuple[Parameter, ...]] = {
    "compressor": (_THRESHOLD, _RATIO, _KNEE, _ATTACK, _RELEASE, _MAKEUP),
    "limiter": (
        _THRESHOLD,
        _KNEE,
        Centred("attack_ms", 0.01, 100.0, "ms", "log", middle=0.5),
        _RELEASE,
        _MAKEUP,
    ),
    "expander": (_OPENING, Parameter("ratio", 1.0, 10.0, "", "log"), _KNEE, _RANGE, _ATTACK, _RELEASE, _MAKEUP),
    "gate": (_OPENING, _KNEE, _RANGE, _ATTACK, _RELEASE, _MAKEUP),
}


class Dynamics(Processor):
    """A gain that follows the level: a detector, a static curve and its smoothing in dB, of one mono signal.

    The equations, with their source, are those of `nablafx_dsp.functional.dynamics.dynamics_gain`; its `dynamics` is
    the same for several channels that share a gain, or that follow a key. ``attack_ms`` and ``release_ms`` are the
    times in which a step of the gain in dB is 63 % done; parameters per block of samples are constant in a block.
    State: ``z``, the averaged power and the two stages of the smoothing, (batch, 3), in float64; with look-ahead
    ``past``, the audio that is not out yet.

    Args:
        sample_rate: Hz.
        detector: ``peak`` for the power of each sample, ``rms`` for its average over ``rms_ms``, one parameter more.
        smoothing: ``branching``, one filter with the pole of attack or release, or ``decoupled``, a release that
            follows peaks at once and then the attack, through which the release goes too.
        lookahead_ms: time by which the gain comes before the audio, to the nearest sample; the latency.
        ranges: lowest and highest value of parameters for which they are not those of the table, by name.
        curves: how [0, 1] covers the ranges: perceptual (ratio and times on a log curve, threshold and times with what
            is common in the middle, unless `ranges` gives them) or linear throughout.

    Raises:
        ModelError: if there is no such detector, smoothing or parameter, or a range or the look-ahead makes no sense.
    """

    takes_steps = True
    kind: ClassVar[Kind] = "compressor"

    def __init__(
        self,
        sample_rate: int = 48000,
        detector: Detector = "peak",
        smoothing: Smoothing = "branching",
        lookahead_ms: Annotated[float, Range(0, 10_000)] = 0.0,
        ranges: dict[str, tuple[float, float]] | None = None,
        curves: Curves = "perceptual",
    ) -> None:
        super().__init__(sample_rate)
        if detector not in ("peak", "rms") or smoothing not in ("branching", "decoupled"):
            raise ModelError(
                f"{self.kind}: no detector '{detector}' with '{smoothing}' smoothing. Detectors: peak, rms. Smoothing: "
                "branching, decoupled."
            )
        if lookahead_ms < 0:
            raise ModelError(f"{self.kind}: lookahead_ms is {lookahead_ms:g}; it cannot be below 0.")
        self.smoothing: Smoothing = smoothing
        self.latency = round(lookahead_ms * sample_rate / 1000)
        table = (*PARAMETERS[self.kind], *((_RMS,) if detector == "rms" else ()))
        self.effect_parameters = tuple(self._ranged(table, ranges or {}, curves))

    def _ranged(
        self, table: tuple[Parameter, ...], ranges: Mapping[str, tuple[float, float]], curves: Curves
    ) -> list[Parameter]:
        names = [parameter.name for parameter in table]
        for name, (low, _) in ranges.items():
            if name not in names:
                raise ModelError(f"{self.kind}: there is no parameter '{name}'. Parameters: {', '.join(names)}.")
            least = {"ratio": 1.0, "knee_db": 0.0, "range_db": 0.0}.get(name, float("-inf"))
            if low < least or (name.endswith("_ms") and low <= 0):
                raise ModelError(f"{self.kind}: {name} cannot be as low as {low:g}.")
        return [
            own
            if curves == "perceptual" and own.name not in ranges
            else Parameter(
                own.name,
                *ranges.get(own.name, (own.minimum, own.maximum)),
                own.unit,
                own.curve if curves == "perceptual" else "linear",
            )
            for own in table
        ]

    def macs_per_sample(self) -> float:
        """Two products for each of average, ballistics and smoothing, and the gain."""
        return 7.0

    def initial_state(self, batch_size: int, parameters: dict[str, Tensor] | None = None) -> State:
        """What a long silence leaves: a compressor is at rest, an expander or a gate is closed.

        Args:
            batch_size: number of items.
            parameters: at the first sample, each (batch,); the middles of the ranges if None.
        """
        if parameters is None:
            parameters = {p.name: torch.full((batch_size,), p.from_unit(0.5)) for p in self.effect_parameters}
        z = silent_state(self._coefficients(parameters)[..., 0], CURVES[self.kind].side)
        values = next(iter(parameters.values()))
        return {"z": z} | ({"past": values.new_zeros(batch_size, self.latency)} if self.latency else {})

    def forward(
        self, audio: Tensor, parameters: dict[str, Tensor] | dict[str, Steps], state: State | None = None
    ) -> tuple[Tensor, State]:
        """Process audio (batch, 1, time)."""
        sound = audio[:, 0]
        values, block_size, skip = framed(parameters, sound.shape[-1])
        coefficients, side = self._coefficients(values), CURVES[self.kind].side
        before = None if state is None else state["z"]
        gain, z = dynamics_gain(sound, coefficients, side, before, block_size=block_size, skip=skip)
        if not self.latency:
            return (sound * gain)[:, None], {"z": z}
        past = sound.new_zeros(len(sound), self.latency) if state is None else state["past"].to(sound)
        line = torch.cat([past, sound], dim=-1)
        after = {"z": z, "past": line[:, sound.shape[-1] :]}
        if state is not None:
            return (line[:, : sound.shape[-1]] * gain)[:, None], after
        tail, _ = dynamics_gain(torch.zeros_like(past), coefficients[..., -1:], side, z)
        return (sound * torch.cat([gain, tail], dim=-1)[:, self.latency :])[:, None], after

    def _coefficients(self, values: Mapping[str, Any]) -> Tensor:
        like = next(iter(values.values()))
        return dynamics_coefficients(values, self.kind, self.sample_rate, self.smoothing, like)


class Compressor(Dynamics):
    """Less gain above the threshold: there, ``ratio`` dB more of input are 1 dB more of output."""

    kind = "compressor"
    title = "compressor"


class Limiter(Dynamics):
    """A compressor of infinite ratio. A peak within its attack passes, unless it looks ahead for longer than that."""

    kind = "limiter"
    title = "limiter"


class Expander(Dynamics):
    """Less gain below the threshold: ``ratio`` dB less per dB of input, by up to ``range_db``; the attack opens it."""

    kind = "expander"
    title = "expander"


class Gate(Dynamics):
    """An expander with a ratio of 20, which closes by ``range_db``; the attack opens it."""

    kind = "gate"
    title = "gate"
