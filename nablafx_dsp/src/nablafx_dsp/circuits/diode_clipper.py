"""A diode clipper, solved from its circuit equation."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import signal  # type: ignore[import-untyped]

from nablafx_core.controls import Control
from nablafx_core.errors import DataError
from nablafx_core.interfaces import Device
from nablafx_core.kernels.compiled import compiled


class DiodeClipper(Device):
    """The clipping stage of a distortion pedal: a resistor into a capacitor and two antiparallel diodes.

    The voltage v over the diodes follows the amplified input u::

        dv/dt = (u - v) / (R C) - (2 Is / C) sinh(v / (n Vt))

    then a one-pole low-pass, the tone knob: dw/dt = 2 pi f (v - w). Full scale is 1 V. Circuit and values: Yeh, Abel
    and Smith, "Simplified, physically-informed models of distortion and overdrive guitar effects pedals", DAFx 2007.

    Solved by the trapezoidal rule with Newton's method for each sample, at a multiple of the sample rate; the filters
    on the way up and down are linear phase and their delay is compensated. A sample at which Newton's method does not
    converge is counted, and a warning gives the number.

    Args:
        oversampling: internal samples per sample.
        resistance_ohm: R.
        capacitance_farad: C.
        saturation_current_ampere: Is of one diode.
        thermal_voltage_volt: n Vt, the ideality factor times the thermal voltage.
    """

    controls = (
        Control("drive", 0.0, 30.0, "dB", default=15.0),
        Control("tone", 500.0, 20_000.0, "Hz", "log", default=8_000.0),
    )

    def __init__(
        self,
        oversampling: int = 4,
        resistance_ohm: float = 2.2e3,
        capacitance_farad: float = 10e-9,
        saturation_current_ampere: float = 2.52e-9,
        thermal_voltage_volt: float = 45.3e-3,
    ) -> None:
        self.oversampling = oversampling
        self.resistance_ohm = resistance_ohm
        self.capacitance_farad = capacitance_farad
        self.saturation_current_ampere = saturation_current_ampere
        self.thermal_voltage_volt = thermal_voltage_volt
        taps = 48 * oversampling + 1
        self._lowpass = signal.firwin(taps, 0.92 / oversampling, window=("kaiser", 7.0)) if oversampling > 1 else None

    def render(self, audio: Any, sample_rate: int, controls: Sequence[float] = ()) -> Any:
        """Render a mono signal from rest.

        Args:
            audio: (time,), full scale +-1.
            sample_rate: Hz.
            controls: drive and tone in [0, 1]; their defaults if empty.

        Returns:
            The output in volts, float64 (time,).

        Raises:
            DataError: if the audio is not mono or the number of controls is wrong.
        """
        audio = np.ascontiguousarray(audio, dtype=np.float64)
        units = list(controls) or [control.default_unit for control in self.controls]
        if audio.ndim != 1 or len(units) != len(self.controls):
            raise DataError(
                f"diode_clipper takes audio (time,) and {len(self.controls)} controls (drive, tone), not audio of "
                f"shape {audio.shape} and {len(units)} controls."
            )
        drive_db, tone_hz = (control.from_unit(unit) for control, unit in zip(self.controls, units, strict=True))
        rate = sample_rate * self.oversampling
        volts = self.clip(10 ** (drive_db / 20) * self._resampled(audio, self.oversampling, 1), rate)
        pole = math.exp(-2 * math.pi * tone_hz / rate)
        toned = signal.lfilter([(1 - pole) / 2, (1 - pole) / 2], [1, -pole], volts)
        return self._resampled(toned, 1, self.oversampling)

    def clip(self, volts: Any, rate: int) -> Any:
        """The voltage over the diodes for an input voltage, both (time,) at `rate` Hz, without filters around it."""
        output = np.empty_like(volts)
        rc = self.resistance_ohm * self.capacitance_farad
        leak = 2 * self.saturation_current_ampere / self.capacitance_farad
        failures = _trapezoidal(volts, output, 0.5 / rate, 1 / rc, leak, 1 / self.thermal_voltage_volt)
        if failures:
            warnings.warn(
                f"diode_clipper: no convergence at {failures:,} of {len(volts):,} samples; the output is not exact "
                "there. Lower the input or raise the oversampling.",
                stacklevel=3,
            )
        return output

    def _resampled(self, audio: Any, up: int, down: int) -> Any:
        return audio if self._lowpass is None else signal.resample_poly(audio, up, down, window=self._lowpass)


#: Newton's method: an iterate moves by at most this many thermal voltages (beyond, the exponential runs away), and
#: is a solution once it moves by less than this many volts (its error is then the square of that).
_LONGEST_STEP = 4.0
_TOLERANCE = 1e-6
_MOST_STEPS = 100


@compiled
def _trapezoidal(volts: Any, output: Any, half_step: float, rate: float, leak: float, slope: float) -> int:
    """Solve v - h f(v, u) = v0 + h f(v0, u0) for each sample, with f the circuit's dv/dt and h half a sample.

    With f = (u - v) rate - leak sinh(slope v) this is a v + b sinh(slope v) = p, which grows with v: one root.

    Returns:
        How many samples did not converge.
    """
    failures = 0
    longest = _LONGEST_STEP / slope
    a, b = 1 + half_step * rate, half_step * leak
    v, change = 0.0, 0.0
    for t in range(volts.size):
        known = v + change
        drive = half_step * rate * volts[t]
        step = longest
        count = 0
        while abs(step) > _TOLERANCE and count < _MOST_STEPS:
            e = math.exp(slope * v)
            # Numerator and denominator times 2 e, which saves a division.
            step = (2 * e * (a * v - known - drive) + b * (e * e - 1)) / (2 * e * a + b * slope * (e * e + 1))
            step = min(max(step, -longest), longest)
            v -= step
            count += 1
        failures += not abs(step) <= _TOLERANCE
        change = v - known
        output[t] = v
    return failures
