"""Diode clipper, solved from its circuit equation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import signal  # type: ignore[import-untyped]

from nablafx_core.controls import Control
from nablafx_core.kernels.compiled import compiled
from nablafx_dsp.circuits.circuit import Circuit


class DiodeClipper(Circuit):
    """Clipping stage of a distortion pedal: a resistor into a capacitor and two antiparallel diodes.

    The voltage v over the diodes follows the amplified input u::

        dv/dt = (u - v) / (R C) - (2 Is / C) sinh(v / (n Vt))

    with u = 10^(drive / 20) times the input. A one-pole low-pass, the tone control, follows: dw/dt = 2 pi f (v - w),
    where f is the control ``tone``. Full scale is 1 V. Circuit and values: Yeh, Abel and Smith, "Simplified,
    physically-informed models of distortion and overdrive guitar effects pedals", DAFx 2007.

    The clipper is solved by the trapezoidal rule, with Newton's method for each sample, at a multiple of the sample
    rate: see `Circuit`. At that rate, the low-pass has the pole exp(-2 pi f / rate) and a zero at half the rate.

    Args:
        oversampling: integer factor of the sample rate.
        resistance_ohm: R.
        capacitance_farad: C.
        saturation_current_ampere: Is of one diode.
        thermal_voltage_volt: n Vt, the ideality factor times the thermal voltage.
    """

    name = "diode_clipper"

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
        super().__init__(oversampling)
        self.resistance_ohm = resistance_ohm
        self.capacitance_farad = capacitance_farad
        self.saturation_current_ampere = saturation_current_ampere
        self.thermal_voltage_volt = thermal_voltage_volt

    def solve(self, volts: Any, rate: int, values: Mapping[str, float]) -> Any:
        """Return the clipped and low-passed output; see `Circuit.solve`."""
        clipped = self.clip(10 ** (values["drive"] / 20) * volts, rate)
        pole = math.exp(-2 * math.pi * values["tone"] / rate)
        return signal.lfilter([(1 - pole) / 2, (1 - pole) / 2], [1, -pole], clipped)

    def clip(self, volts: Any, rate: int) -> Any:
        """Return the voltage over the diodes for the input u in volts, both (time,) at `rate` Hz.

        Drive, tone and resampling are left out. Warn if the solver does not converge.
        """
        output = np.empty_like(volts)
        rc = self.resistance_ohm * self.capacitance_farad
        leak = 2 * self.saturation_current_ampere / self.capacitance_farad
        failures = _trapezoidal(volts, output, 0.5 / rate, 1 / rc, leak, 1 / self.thermal_voltage_volt)
        self.report(failures, len(volts))
        return output


#: Longest Newton step in thermal voltages; after a longer one the exponential could overflow.
_LONGEST_STEP = 4.0
#: Newton's method has converged when a step is below this many volts: its error is then about the square of the step.
_TOLERANCE = 1e-6
#: Newton steps after which a sample counts as not converged; a few are usual.
_MOST_STEPS = 100


@compiled
def _trapezoidal(volts: Any, output: Any, half_step: float, rate: float, leak: float, slope: float) -> int:
    """Solve v - h f(v, u) = v0 + h f(v0, u0) for each sample, where f is the circuit's dv/dt and h half a sample.

    With f = (u - v) rate - leak sinh(slope v) this is a v + b sinh(slope v) = p, which grows with v and has one root.

    Returns:
        The number of samples that did not converge.
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
