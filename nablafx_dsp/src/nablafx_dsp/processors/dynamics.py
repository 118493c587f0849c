"""Dynamic range processors: compressor, limiter, expander, gate."""

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
from nablafx_dsp.frames import framed
from nablafx_dsp.functional.dynamics import (
    CURVES,
    Kind,
    Smoothing,
    dynamics_coefficients,
    dynamics_gain,
    silent_state,
)
from nablafx_dsp.processors.ranges import Curves, with_ranges

Detector = Literal["peak", "rms"]

# Ranges are as wide as those of devices. A trained parameter starts at 0.5, which is the middle of common values.
_THRESHOLD = Centred("threshold_db", -80.0, 0.0, "dB", middle=-30.0)
_OPENING = Centred("threshold_db", -90.0, 0.0, "dB", middle=-40.0)
_RATIO = Parameter("ratio", 1.0, 20.0, "", "log")
_KNEE = Parameter("knee_db", 0.0, 24.0, "dB")
_RANGE = Parameter("range_db", 0.0, 80.0, "dB")
_ATTACK = Centred("attack_ms", 0.05, 1000.0, "ms", "log", middle=5.0)
_RELEASE = Centred("release_ms", 5.0, 5000.0, "ms", "log", middle=100.0)
_MAKEUP = Parameter("makeup_db", -24.0, 36.0, "dB")
_RMS = Centred("rms_ms", 1.0, 300.0, "ms", "log", middle=10.0)

#: Parameters of each kind, with their default ranges.
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
    """Gain that depends on the level of a mono signal: a detector, a static curve and smoothing in dB.

    The equations and their source are in `nablafx_dsp.functional.dynamics.dynamics_gain`. `dynamics` of that module
    does the same for several channels that share a gain or follow a side-chain signal. `PARAMETERS` lists the
    parameters of each kind. ``attack_ms`` and ``release_ms`` are the times after which 63 % of a step of the gain in dB
    is done (with decoupled smoothing, the release takes longer, since the attack's filter follows it). Parameters per
    block of samples are constant within a block. State: ``z``, the averaged power and the two stages of the smoothing,
    (batch, 3), in float64 (float32 on MPS); with look-ahead also ``past``, the delayed audio, (batch, latency).

    Args:
        sample_rate: sample rate in Hz.
        detector: ``peak`` detects the power of each sample; ``rms`` averages it over ``rms_ms``, an additional
            parameter.
        smoothing: ``branching``: one filter with the pole of attack or release; ``decoupled``: a release that follows
            peaks at once, then a filter for the attack, which the release also passes through.
        lookahead_ms: time in ms by which the gain precedes the audio, 0 or more, rounded to samples; this is the
            latency.
        ranges: lowest and highest value by parameter, instead of the default range.
        curves: how [0, 1] covers the ranges: ``perceptual`` (ratio and times on a log curve; threshold and times with
            common values in the middle, unless `ranges` contains them) or ``linear`` for all.

    Raises:
        ModelError: if the detector, the smoothing or a parameter in `ranges` is unknown, a range is reversed, infinite
            or begins too low, or `lookahead_ms` is below 0.
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
                f"{self.kind}: expected detector peak or rms, and smoothing branching or decoupled; got detector "
                f"'{detector}' and smoothing '{smoothing}'."
            )
        if lookahead_ms < 0:
            raise ModelError(f"{self.kind}: lookahead_ms must be 0 or more, got {lookahead_ms:g}.")
        self.smoothing: Smoothing = smoothing
        self.latency = round(lookahead_ms * sample_rate / 1000)
        table = (*PARAMETERS[self.kind], *((_RMS,) if detector == "rms" else ()))
        self.effect_parameters = with_ranges(self.kind, table, ranges or {}, curves, least={"ratio": 1.0})

    def macs_per_sample(self) -> float:
        """Return 7 multiply-accumulates, whatever the settings.

        There are two each for the average of the power and the two stages of smoothing, and one for the gain.
        """
        return 7.0

    def initial_state(self, batch_size: int, parameters: dict[str, Tensor] | None = None) -> State:
        """Return the state after a long silence: a compressor is at rest, an expander or a gate is closed.

        Args:
            batch_size: number of items.
            parameters: parameters at the first sample, each (batch,); their values at 0.5 if None.
        """
        if parameters is None:
            parameters = {p.name: torch.full((batch_size,), p.from_unit(0.5)) for p in self.effect_parameters}
        z = silent_state(self._coefficients(parameters)[..., 0], CURVES[self.kind].side)
        values = next(iter(parameters.values()))
        return {"z": z} | ({"past": values.new_zeros(batch_size, self.latency)} if self.latency else {})

    def forward(
        self, audio: Tensor, parameters: dict[str, Tensor] | dict[str, Steps], state: State | None = None
    ) -> tuple[Tensor, State]:
        """Apply the gain to audio (batch, 1, time).

        Args:
            audio: x, (batch, 1, time).
            parameters: parameters by name, each (batch,), (batch, time), or `Steps` of (batch, blocks).
            state: state after the previous audio. None for a whole file: a long silence before and after it, and an
                output without delay.

        Returns:
            y, (batch, 1, time), and the state after the audio. With a given state, y lags by `latency` samples.
        """
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
    """Reduce the gain above the threshold: there, ``ratio`` dB more input give 1 dB more output in the steady state.

    For the equations see `Dynamics`.
    """

    kind = "compressor"
    title = "compressor"


class Limiter(Dynamics):
    """Compressor with infinite ratio: above the threshold, the steady output has the level of the threshold.

    The onset of a peak passes before the attack is done; a look-ahead of several attacks prevents that. A peak shorter
    than the attack is hardly reduced with branching smoothing, whatever the look-ahead; decoupled smoothing with such a
    look-ahead reduces it too. For the equations see `Dynamics`.
    """

    kind = "limiter"
    title = "limiter"


class Expander(Dynamics):
    """Reduce the gain below the threshold: ``ratio`` dB of output per dB of input, by up to ``range_db``.

    The attack is the time to open, and the release the time to close. For the equations see `Dynamics`.
    """

    kind = "expander"
    title = "expander"


class Gate(Dynamics):
    """Expander with a ratio of 20, which reduces the gain by up to ``range_db``.

    The attack is the time to open, and the release the time to close. For the equations see `Dynamics`.
    """

    kind = "gate"
    title = "gate"
