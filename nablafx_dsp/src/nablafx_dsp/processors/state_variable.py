"""State-variable filter, whose cutoff may move fast."""

from __future__ import annotations

import math
import warnings
from typing import Literal

import torch
from torch import Tensor

from nablafx_core.controls import Parameter
from nablafx_core.errors import ModelError
from nablafx_core.interfaces import Processor
from nablafx_core.state import State
from nablafx_core.steps import Steps
from nablafx_dsp.frames import framed
from nablafx_dsp.functional.cookbook import HIGHEST
from nablafx_dsp.functional.precision import wide_dtype
from nablafx_dsp.functional.state_variable import state_variable_filter
from nablafx_dsp.processors.ranges import Curves, log_curve

ModeName = Literal["lowpass", "bandpass", "highpass", "notch", "allpass", "mix"]

#: Weights of the outputs low, band / Q (a gain of 1 at the cutoff) and high, by mode.
MODES: dict[str, tuple[float, float, float]] = {
    "lowpass": (1.0, 0.0, 0.0),
    "bandpass": (0.0, 1.0, 0.0),
    "highpass": (0.0, 0.0, 1.0),
    "notch": (1.0, 0.0, 1.0),
    "allpass": (1.0, -1.0, 1.0),
}

_MIX = ("low", "band", "high")


class StateVariable(Processor):
    """Second-order state-variable filter by the trapezoidal rule, stable however its parameters move.

    Parameters: ``cutoff_hz``, ``q`` and, in mode ``mix``, ``low``, ``band`` and ``high``, the weights of the
    three outputs in [-1, 1]; the band output is scaled to a gain of 1 at the cutoff. Cutoffs above 0.49 of the sample
    rate are clamped, and a `max_cutoff_hz` that reaches it causes a warning. There is no latency. State: ``z``, the two
    integrators, (batch, 2), in float64 (float32 on MPS). For the equations see
    `nablafx_dsp.functional.state_variable.state_variable_filter`.

    Args:
        sample_rate: sample rate in Hz.
        mode: ``lowpass``, ``bandpass``, ``highpass``, ``notch``, ``allpass``, or ``mix`` for a mixture with parameters.
        min_cutoff_hz, max_cutoff_hz: range of the cutoff in Hz. If its upper end is not given, it is 20 kHz or 0.49 of
            the sample rate, whichever is lower.
        min_q, max_q: range of the quality factor.
        curves: how [0, 1] covers the ranges: ``perceptual`` (cutoff and Q on a log curve) or ``linear`` for all.

    Raises:
        ModelError: if the mode is unknown, a cutoff or Q is not above 0, or a range is reversed or infinite.
    """

    takes_steps = True
    shape = "filter"
    title = "state-variable filter"

    def __init__(
        self,
        sample_rate: int = 48000,
        mode: ModeName = "lowpass",
        min_cutoff_hz: float = 20.0,
        max_cutoff_hz: float | None = None,
        min_q: float = 0.1,
        max_q: float = 10.0,
        curves: Curves = "perceptual",
    ) -> None:
        super().__init__(sample_rate)
        if mode != "mix" and mode not in MODES:
            raise ModelError(f"svf: unknown mode '{mode}'; expected one of {', '.join(MODES)}, mix.")
        if min(min_cutoff_hz, min_q) <= 0:
            raise ModelError(f"svf: cutoff (from {min_cutoff_hz:g} Hz) and Q (from {min_q:g}) must be above 0.")
        if max_cutoff_hz is None:
            max_cutoff_hz = min(20_000.0, HIGHEST * sample_rate)
        elif max_cutoff_hz >= HIGHEST * sample_rate:
            warnings.warn(
                f"svf: its cutoff range reaches {max_cutoff_hz:g} Hz; at a sample rate of {sample_rate} Hz, cutoffs "
                f"above {HIGHEST * sample_rate:g} Hz are clamped. Lower max_cutoff_hz.",
                stacklevel=2,
            )
        curve = log_curve(curves)
        cutoff = Parameter("cutoff_hz", min_cutoff_hz, max_cutoff_hz, "Hz", curve)
        mix = tuple(Parameter(name, -1.0, 1.0) for name in _MIX) if mode == "mix" else ()
        self.mode = mode
        self.effect_parameters = (cutoff, Parameter("q", min_q, max_q, "", curve), *mix)

    def macs_per_sample(self) -> float:
        """Return 7 multiply-accumulates: two per integrator, and three for the mix of the outputs."""
        return 7.0

    def initial_state(self, batch_size: int, parameters: dict[str, Tensor] | None = None) -> State:
        """Return the state for silence before the first sample."""
        return {"z": torch.zeros(batch_size, 2, dtype=torch.float64)}

    def forward(
        self,
        audio: Tensor,
        parameters: dict[str, Tensor] | dict[str, Steps],
        state: State | None = None,
    ) -> tuple[Tensor, State]:
        """Filter audio (batch, 1, time).

        Args:
            audio: x, (batch, 1, time).
            parameters: parameters by name, each (batch,), (batch, time), or `Steps` of (batch, blocks).
            state: state after the previous audio; None for silence before.

        Returns:
            y, (batch, 1, time), and the state after it.
        """
        values, block_size, skip = framed(parameters, audio.shape[-1])
        wide = {name: value.to(wide_dtype(value.device)) for name, value in values.items()}
        g = torch.tan(math.pi / self.sample_rate * wide["cutoff_hz"].clamp(max=HIGHEST * self.sample_rate))
        one, k = torch.ones_like(wide["q"]), 1 / wide["q"]
        if self.mode == "mix":
            low, band, high = wide["low"], wide["band"] * k, wide["high"]
        else:
            low, band, high = (weight * scale for weight, scale in zip(MODES[self.mode], (one, k, one), strict=True))
        count = max(part.shape[-1] for part in (low, band, high))
        mix = torch.stack([part.expand(len(k), count) for part in (low, band, high)], dim=1)
        before = None if state is None else state["z"]
        output, z = state_variable_filter(audio[:, 0], g, k, mix, before, block_size=block_size, skip=skip)
        return output[:, None], {"z": z}
