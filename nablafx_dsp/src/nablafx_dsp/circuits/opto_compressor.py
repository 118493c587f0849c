"""A compressor whose gain is a photoresistor's, solved from its equations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nablafx_core.controls import Control
from nablafx_core.kernels.compiled import compiled
from nablafx_dsp.circuits.circuit import Circuit


class OptoCompressor(Circuit):
    """An optical levelling amplifier: a lamp fed by the output lights a photoresistor that shunts the input.

    The photoresistor's conductance g, in units of the series resistor's, its trapped charge m and the light l::

        y = u / (1 + g)
        lag l' = (peak y)^4 - l
        tau g' = l - g^2 - (tau / fill) g + (tau / empty) m
        m' = g / fill - m / empty

    and the output is y times the gain. The charge that conducts recombines in pairs, which is the g^2, so that a
    strong light is answered sooner than a weak one and the release is quick at first and then slow; what falls into
    the traps comes back over seconds, so that after a long loud passage the release is longer still. In steady light
    g is its square root: with a lamp whose light is the fourth power of its voltage, y is as the cube root of u,
    3:1, beyond the knee, which lies where peak y = 1.

    A plausible simple model and not a measured one: recombination in pairs and traps are those of photoconductors
    (Rose, "Concepts in photoconductivity and allied problems", 1963); the time constants are chosen
    so that at 20 dB of peak reduction a tone of full scale is turned down within 2 ms, by 13 dB, of which half is gone
    60 ms after its end, and nine tenths after 0.5 s if it lasted 0.1 s, or after 7 s if it lasted 1 s: opto cells of
    such amplifiers are described so. Left out: the amplifiers and transformers with their distortion, the lamp's
    colour and threshold, the frequency response of the side-chain, the resistor's heat and age.

    Solved by the trapezoidal rule with Newton's method for each sample, at a multiple of the sample rate: see
    `Circuit`. The light of each sample is that of its own output: no delay in the loop.

    Args:
        oversampling: internal samples per sample.
        lag_s: of the lamp.
        recombination_s: tau.
        fill_s: how slowly the traps fill.
        empty_s: how slowly they empty.
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
        """The output in volts, see `Circuit.solve`."""
        output = np.empty_like(volts)
        peak, gain = (10 ** (values[name] / 20) for name in ("peak_reduction", "gain"))
        half = 0.5 / rate
        times = half / np.array([self.lag_s, self.recombination_s, self.fill_s, self.empty_s])
        failures = _trapezoidal(volts, output, peak, *times)
        self.report(failures, len(volts))
        return gain * output


#: A step is the last once g moves by less than this, relative to 1 + g; its error is then the square of that.
_TOLERANCE = 1e-7
_MOST_STEPS = 100


@compiled
def _trapezoidal(volts: Any, output: Any, peak: float, lag: float, pair: float, fill: float, empty: float) -> int:
    """Solve each sample for g; the times are half a sample over the time constants.

    The light and the traps are linear in what g makes of them, so that they are put in: one equation for g is left,
    whose left side r grows with g from r(0) < 0. Where Newton's step would leave the interval that holds the root,
    the interval is halved.

    Returns:
        How many samples did not converge.
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
