"""What all circuits share: knobs, resampling, and the report of what their solver could not solve."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import signal  # type: ignore[import-untyped]

from nablafx_core.errors import DataError, ModelError
from nablafx_core.interfaces import Device


class Circuit(Device):
    """A circuit that is solved sample by sample, from rest, at a multiple of the sample rate. Full scale is 1 V.

    The filters on the way up and down are linear phase and their delay is compensated. A sample at which Newton's
    method does not converge is counted, and a warning gives the number.

    Args:
        oversampling: internal samples per sample.

    Raises:
        ModelError: if `oversampling` is below 1.
    """

    #: As it is registered, for messages.
    name: str

    def __init__(self, oversampling: int = 4) -> None:
        if oversampling < 1:
            raise ModelError(f"{self.name}: oversampling is {oversampling}; it is 1 or more.")
        self.oversampling = oversampling
        taps = 48 * oversampling + 1
        self._lowpass = signal.firwin(taps, 0.92 / oversampling, window=("kaiser", 7.0)) if oversampling > 1 else None

    def render(self, audio: Any, sample_rate: int, controls: Sequence[float] = ()) -> Any:
        """Render a mono signal from rest.

        Args:
            audio: (time,), full scale +-1.
            sample_rate: Hz.
            controls: the knobs in [0, 1]; their defaults if empty.

        Returns:
            The output in volts, float64 (time,).

        Raises:
            DataError: if the audio is not mono or the number of controls is wrong.
        """
        audio = np.ascontiguousarray(audio, dtype=np.float64)
        units = list(controls) or [control.default_unit for control in self.controls]
        if audio.ndim != 1 or len(units) != len(self.controls):
            knobs = ", ".join(control.name for control in self.controls)
            raise DataError(
                f"{self.name} takes audio (time,) and {len(self.controls)} controls ({knobs}), not audio of "
                f"shape {audio.shape} and {len(units)} controls."
            )
        values = {c.name: float(c.from_unit(unit)) for c, unit in zip(self.controls, units, strict=True)}
        volts = self._resampled(audio, self.oversampling, 1)
        return self._resampled(self.solve(volts, sample_rate * self.oversampling, values), 1, self.oversampling)

    def solve(self, volts: Any, rate: int, values: Mapping[str, float]) -> Any:
        """The output for an input, both in volts (time,) at `rate` Hz, without the filters of the resampling.

        Args:
            volts: input, float64.
            rate: Hz.
            values: of the knobs by name, in their units.
        """
        raise NotImplementedError

    def report(self, failures: int, samples: int) -> None:
        """Warn if Newton's method did not converge at some of the samples."""
        if failures:
            warnings.warn(
                f"{self.name}: no convergence at {failures:,} of {samples:,} samples; the output is not exact there. "
                "Lower the input or raise the oversampling.",
                stacklevel=3,
            )

    def _resampled(self, audio: Any, up: int, down: int) -> Any:
        return audio if self._lowpass is None else signal.resample_poly(audio, up, down, window=self._lowpass)
