"""Tube screamer: its clipping and tone stages, solved from their circuit equations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nablafx_core.controls import Control
from nablafx_dsp.circuits.circuit import Circuit
from nablafx_dsp.circuits.state_space import Junctions, StateSpace


class TubeScreamer(Circuit):
    """Overdrive: a high-pass, diodes in the feedback of an op amp, a tone control and a level.

    The input is u, full scale is 1 V. High-pass (1 uF into 10 kOhm): p = u - a,  a' = p / (10k 1u).

    Clipper (4.7 kOhm and 47 nF to ground, 51 pF with the diodes in the feedback): the op amp keeps its inputs equal,
    so that the current i = (p - b) / 4.7k flows through the feedback,  b' = i / 47n,
    f' = (i - f / (51k + drive 500k) - 2 Is sinh(f / n)) / 51p,  and its output is p + f.

    Tone (1 kOhm into 220 nF and 10 kOhm; a pot of 20 kOhm between the inputs of the second op amp, its wiper through
    220 Ohm and 220 nF to ground; 1 kOhm of feedback), with T the pot's position and r = 220 + T (1 - T) 20k::

        k = (c - d) / r,  c' = ((p + f - c) / 1k - c / 10k - (1 - T) k) / 220n,  d' = k / 220n,  y = c + 1k T k

    The output is y times the control ``level``, a gain in dB. Stages and values: Yeh, Abel and Smith, "Simplified,
    physically-informed models of distortion and overdrive guitar effects pedals", DAFx 2007; the pedal's schematic as
    in Keen, "The technology of the Tube Screamer", 1998. Not modelled: the buffers at input and output, the coupling
    after the tone stage (below 2 Hz), and the op amps' supply and bandwidth.

    It is solved by the trapezoidal rule, with Newton's method for each sample: see `StateSpace` and `Circuit`.

    Args:
        oversampling: integer factor of the sample rate.
        saturation_current_ampere: Is of one diode in ampere.
        thermal_voltage_volt: n, the ideality factor times the thermal voltage, in volts.
    """

    name = "tube_screamer"

    controls = (
        Control("drive", 0.0, 1.0, default=0.5),
        Control("tone", 0.0, 1.0, default=0.5),
        Control("level", -40.0, 0.0, "dB", default=0.0),
    )

    def __init__(
        self,
        oversampling: int = 4,
        saturation_current_ampere: float = 2.52e-9,
        thermal_voltage_volt: float = 45.3e-3,
    ) -> None:
        super().__init__(oversampling)
        self.saturation_current_ampere = saturation_current_ampere
        self.thermal_voltage_volt = thermal_voltage_volt

    def solve(self, volts: Any, rate: int, values: Mapping[str, float]) -> Any:
        """Return y times the level, in volts; see `Circuit.solve`."""
        output, failures = self.state_space(values).run(volts, rate)
        self.report(failures, len(volts))
        return output

    def state_space(self, values: Mapping[str, float]) -> StateSpace:
        """Return the equations for values of the controls by name, in their units.

        The states are (a, b, f, c, d); the only junction is the pair of diodes.
        """
        drive_ohm, tone = 51e3 + 500e3 * values["drive"], values["tone"]
        level = 10 ** (values["level"] / 20)
        pot = 220 + tone * (1 - tone) * 20e3
        # Rows that map (a, b, f, c, d) and u to a voltage or a current.
        p = np.array([-1.0, 0, 0, 0, 0, 1])
        b, f, c, d = np.eye(6)[1:5]
        i, k = (p - b) / 4.7e3, (c - d) / pot
        rows = np.stack(
            [
                p / (10e3 * 1e-6),
                i / 47e-9,
                (i - f / drive_ohm) / 51e-12,
                ((p + f - c) / 1e3 - c / 10e3 - (1 - tone) * k) / 220e-9,
                k / 220e-9,
            ]
        )
        y = level * (c + 1e3 * tone * k)
        diodes = Junctions(
            np.array([self.saturation_current_ampere]), np.array([self.thermal_voltage_volt]), np.array([True])
        )
        return StateSpace(
            a=rows[:, :5],
            b=np.stack([rows[:, 5], np.zeros(5)], axis=1),
            c=-np.eye(5)[:, 2:3] / 51e-12,
            d=np.eye(5)[2:3],
            e=np.zeros((1, 2)),
            f=np.zeros((1, 1)),
            outputs=np.array([*y, 0.0, 0.0]),
            junctions=diodes,
        )
