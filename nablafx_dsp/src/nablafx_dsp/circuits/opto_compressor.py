"""Optical compressor, whose gain is set by a photoresistor, solved from its equations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nablafx_core.controls import Control
from nablafx_core.kernels.compiled import compiled
from nablafx_dsp.circuits.circuit import Circuit


class OptoCompressor(Circuit):
    """Optical levelling amplifier: a lamp driven by the output lights a photoresistor that shunts the input.

    The equations of the photoresistor's conductance g, in units of the series resistor's, its trapped charge m and the
    light l are, with peak = 10^(peak_reduction / 20)::

        y = u / (1 + g)
        lag l' = (peak y)^4 - l
        tau g' = l - g^2 - (tau / fill) g + (tau / empty) m
        m' = g / fill - m / empty

    and the output is y times the control ``gain``, in dB. The conducting charge recombines in pairs (the g^2), so that
    the response to strong light is faster than that to weak light, and the release is fast at first and then slow.
    Trapped charge returns over seconds, so that the release after a long loud passage is longer. In steady light g is
    the square root of the light. With a lamp whose light is the fourth power of its voltage, y is proportional to the
    cube root of u, a ratio of 3:1, beyond the knee, which is at peak y = 1.

    This is a plausible simple model and not a measured one. Recombination in pairs and traps are those of
    photoconductors (Rose, "Concepts in photoconductivity and allied problems", 1963). The time constants are chosen to
    match descriptions of the opto cells of such amplifiers: at 20 dB of peak reduction, a full-scale tone is reduced by
    13 dB within 2 ms; half of that is gone 60 ms after its end, and nine tenths after 0.5 s if the tone lasted 0.1 s,
    or after 7 s if it lasted 1 s. Not modelled: amplifiers and transformers with their distortion, the lamp's colour
    and threshold, the frequency response of the side-chain, temperature and age of the resistor.

    It is solved by the trapezoidal rule, with Newton's method for each sample, at a multiple of the sample rate: see
    `Circuit`. The light of each sample depends on the output of the same sample: there is no delay in the loop.

    Args:
        oversampling: integer factor of the sample rate.
        lag_s: lag, time constant of the lamp in s.
        recombination_s: tau, time constant of the recombination in s.
        fill_s: time constant at which the traps fill, in s.
        empty_s: time constant at which the traps empty, in s.
    """

    name = "opto_compressor"

    controls = (
        Control("peak_reduction", 0.0, 40.0, "dB", default=20.0),
        Control("gain", 0.0, 30.0, "dB", default=6.0),
    )

    def __init__(
        self,
        oversampling: int = 4,
        lag_s: float = 1e-3,
        recombination_s: float = 0.1,
        fill_s: float = 0.5,
        empty_s: float = 3.0,
    ) -> None:
        super().__init__(oversampling)
        self.lag_s = lag_s
        self.recombination_s = recombination_s
        self.fill_s = fill_s
        self.empty_s = empty_s

    def solve(self, volts: Any, rate: int, values: Mapping[str, float]) -> Any:
        """Return y times the gain, in volts; see `Circuit.solve`."""
        output = np.empty_like(volts)
        peak, gain = (10 ** (values[name] / 20) for name in ("peak_reduction", "gain"))
        half = 0.5 / rate
        times = half / np.array([self.lag_s, self.recombination_s, self.fill_s, self.empty_s])
        failures = _trapezoidal(volts, output, peak, *times)
        self.report(failures, len(volts))
        return gain * output


#: Newton's method has converged when a step of g is below this, relative to 1 + g: its error is then about the square.
_TOLERANCE = 1e-7
#: Newton steps after which a sample counts as not converged; a few are usual.
_MOST_STEPS = 100


@compiled
def _trapezoidal(volts: Any, output: Any, peak: float, lag: float, pair: float, fill: float, empty: float) -> int:
    """Solve each sample for g, and write y without the gain to `output`, from the light, g and m at 0.

    lag, pair, fill and empty are half a sample divided by the time constants of the lamp, the recombination, and the
    filling and emptying of the traps.

    The equations of the light and the traps are linear and are substituted. The remaining equation r(g) = 0 has an r
    that grows with g from r(0) < 0. If Newton's step would leave the interval that contains the root, the interval is
    halved instead.

    Returns:
        The number of samples that did not converge.
    """
    failures = 0
    light, g, m = 0.0, 0.0, 0.0
    light_known, g_known, m_known = 0.0, 0.0, 0.0
    for t in range(volts.size):
        source = (peak * volts[t]) ** 4
        low, high = 0.0, np.inf
        step = np.inf
        count = 0
        while abs(step) > _TOLERANCE * (1 + g) and count < _MOST_STEPS:
            fed = source / (1 + g) ** 4
            light = (light_known + lag * fed) / (1 + lag)
            m = (m_known + fill * g) / (1 + empty)
            r = g * (1 + pair * g + fill) - g_known - pair * light - empty * m
            slope = 1 + 2 * pair * g + fill + pair * lag / (1 + lag) * 4 * fed / (1 + g) - empty * fill / (1 + empty)
            if r > 0:
                high = g
            else:
                low = g
            new = g - r / slope
            if not low <= new <= high:
                new = 0.5 * (low + high) if high < np.inf else 2 * g + 1
            step = new - g
            g = new
            count += 1
        failures += not abs(step) <= _TOLERANCE * (1 + g)
        fed = source / (1 + g) ** 4
        light = (light_known + lag * fed) / (1 + lag)
        m = (m_known + fill * g) / (1 + empty)
        light_known = light + lag * (fed - light)
        g_known = g + pair * (light - g * g) - fill * g + empty * m
        m_known = m + fill * g - empty * m
        output[t] = volts[t] / (1 + g)
    return failures
