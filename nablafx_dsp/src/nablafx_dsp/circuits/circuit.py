"""Base class of circuits: controls, resampling, and a warning for samples at which the solver did not converge."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import signal  # type: ignore[import-untyped]

from nablafx_core.errors import DataError, ModelError
from nablafx_core.interfaces import Device

# The resampling filter is a windowed sinc. Relative to the Nyquist frequency of the lower rate it passes up to 0.83
# (20 kHz at 48 kHz) and attenuates by 72 dB from 1.01 on. The cutoff is the middle of the transition.
_CUTOFF, _KAISER_BETA, _TAPS_PER_SAMPLE = 0.92, 7.0, 48


class Circuit(Device):
    """Circuit that is solved sample by sample, from rest, at a multiple of the sample rate. Full scale is 1 V.

    The resampling filters are linear-phase and their delay is compensated. Samples at which Newton's method does not
    converge are counted, and a warning gives their number. A subclass defines ``name``, ``controls`` and `solve`.

    Args:
        oversampling: integer factor of the sample rate, 1 or more; 1 for no resampling.

    Raises:
        ModelError: if `oversampling` is below 1.
    """

    #: Registered name, for messages.
    name: str

    def __init__(self, oversampling: int = 4) -> None:
        if oversampling < 1:
            raise ModelError(f"{self.name}: oversampling must be 1 or more, got {oversampling}.")
        self.oversampling = oversampling
        taps = _TAPS_PER_SAMPLE * oversampling + 1
        window = ("kaiser", _KAISER_BETA)
        self._lowpass = signal.firwin(taps, _CUTOFF / oversampling, window=window) if oversampling > 1 else None

    def render(self, audio: Any, sample_rate: int, controls: Sequence[float] = ()) -> Any:
        """Render a mono signal from rest.

        Args:
            audio: (time,), full scale +-1.
            sample_rate: sample rate in Hz of the audio and of the output.
            controls: one value in [0, 1] per control, in the order of ``controls``; the defaults if empty.

        Returns:
            The output in volts, float64 (time,).

        Raises:
            DataError: if the audio does not have the shape (time,), or the number of values is neither 0 nor that of
                the controls.
        """
        audio = np.ascontiguousarray(audio, dtype=np.float64)
        units = list(controls) or [control.default_unit for control in self.controls]
        if audio.ndim != 1 or len(units) != len(self.controls):
            knobs = ", ".join(control.name for control in self.controls)
            raise DataError(
                f"{self.name}: expected audio (time,) and {len(self.controls)} controls ({knobs}), or none for their "
                f"defaults, got audio of shape {audio.shape} and {len(units)} controls."
            )
        values = {c.name: float(c.from_unit(unit)) for c, unit in zip(self.controls, units, strict=True)}
        volts = self._resampled(audio, self.oversampling, 1)
        return self._resampled(self.solve(volts, sample_rate * self.oversampling, values), 1, self.oversampling)

    def solve(self, volts: Any, rate: int, values: Mapping[str, float]) -> Any:
        """Solve the circuit from rest, without resampling; warn if the solver does not converge.

        Args:
            volts: input in volts at `rate`, float64 (time,).
            rate: internal sample rate in Hz, `oversampling` times that of the audio.
            values: values of the controls by name, in their units.

        Returns:
            The output in volts at `rate`, float64 (time,).
        """
        raise NotImplementedError

    def report(self, failures: int, samples: int) -> None:
        """Warn if Newton's method did not converge at `failures` of `samples` samples; do nothing if there are none."""
        if failures:
            warnings.warn(
                f"{self.name}: the solver did not converge at {failures:,} of {samples:,} samples of the internal "
                "rate; the output is inexact there. Lower the input or raise the oversampling.",
                stacklevel=3,
            )

    def _resampled(self, audio: Any, up: int, down: int) -> Any:
        return audio if self._lowpass is None else signal.resample_poly(audio, up, down, window=self._lowpass)
