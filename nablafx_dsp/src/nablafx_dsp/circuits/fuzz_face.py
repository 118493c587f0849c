"""Fuzz face with two transistors, solved from its circuit equations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nablafx_core.controls import Control
from nablafx_dsp.circuits.circuit import Circuit
from nablafx_dsp.circuits.state_space import Array, Junctions, StateSpace

_SUPPLY_VOLT = 9.0
_COLLECTOR_1_OHM, _COLLECTOR_2_OHM, _LOAD_OHM, _FEEDBACK_OHM = 33e3, 8.2e3, 470.0, 100e3
_FUZZ_OHM, _VOLUME_OHM, _POT_END_OHM = 1e3, 500e3, 1.0
_INPUT_FARAD, _EMITTER_FARAD, _OUTPUT_FARAD = 2.2e-6, 20e-6, 10e-9


class FuzzFace(Circuit):
    """Fuzz with two germanium transistors, the second in the feedback path of the first.

    Kirchhoff's current law at base 1 (B), collector 1 (C, which is base 2), emitter 2 (E), collector 2 (K) and the
    output (O), with the source's resistance Rs, and capacitors at the voltages x (input), z (emitter), o (output)::

        B:  (u - x - B) / Rs + (E - B) / 100k = Ib1          2.2u x' = (u - x - B) / Rs
        C:  (9 - C) / 33k = Ic1 + Ib2
        E:  Ib2 + Ic2 = (E - B) / 100k + (E - z) / Ra         20u z' = (E - z) / Ra - z / Rb
        K:  (O - K) / 8.2k = Ic2
        O:  (9 - O) / 470 = (O - K) / 8.2k + (O - o) / 500k   10n o' = (O - o) / 500k

    and Ebers and Moll's transistors with the currents f of the base-emitter and r of the base-collector junction,
    Is (exp(v / n) - 1) each::

        Ib = f / beta + r / beta_r,   Ic = f - r (1 + 1 / beta_r)

    The fuzz pot, 1 kOhm, is Ra above its wiper and Rb below (1 Ohm at each end). The output is O - o, the voltage over
    the volume pot of 500 kOhm, times the control ``volume``, a gain in dB. The circuit starts at its operating point,
    which is computed first.

    Circuit and gains of the transistors: Keen, "The technology of the Fuzz Face", 1998, with 470 Ohm. Is
    is typical of germanium transistors and puts the second collector at rest at about half the supply, as the article
    recommends. The equations are those of NPN transistors; PNP transistors on a negative supply invert u and y. Not
    modelled: leakage and capacitance of the transistors, and temperature.

    It is solved by the trapezoidal rule, with Newton's method for each sample: see `StateSpace` and `Circuit`.

    Args:
        oversampling: integer factor of the sample rate.
        source_ohm: Rs, source resistance of the guitar in ohm.
        saturation_current_ampere: Is of both transistors in ampere.
        thermal_voltage_volt: n, thermal voltage in volts.
        gains: beta of the first and the second transistor.
        reverse_gain: beta_r of both transistors.
    """

    name = "fuzz_face"

    controls = (
        Control("fuzz", 0.0, 1.0, default=0.8),
        Control("volume", -40.0, 0.0, "dB", default=0.0),
    )

    def __init__(
        self,
        oversampling: int = 4,
        source_ohm: float = 10e3,
        saturation_current_ampere: float = 1e-6,
        thermal_voltage_volt: float = 25.85e-3,
        gains: tuple[float, float] = (75.0, 120.0),
        reverse_gain: float = 10.0,
    ) -> None:
        super().__init__(oversampling)
        self.source_ohm = source_ohm
        self.saturation_current_ampere = saturation_current_ampere
        self.thermal_voltage_volt = thermal_voltage_volt
        self.gains = gains
        self.reverse_gain = reverse_gain

    def solve(self, volts: Any, rate: int, values: Mapping[str, float]) -> Any:
        """Return O - o times the volume, in volts; see `Circuit.solve`."""
        output, failures = self.state_space(values).run(volts, rate)
        self.report(failures, len(volts))
        return output

    def state_space(self, values: Mapping[str, float]) -> StateSpace:
        """Return the equations for values of the controls by name, in their units.

        The states are (x, z, o). The junctions are (f1, r1, f2, r2), those of the class's equations, per transistor.
        """
        above, below = self.fuzz_pot(values["fuzz"])
        volume = 10 ** (values["volume"] / 20)
        nodes = self._nodes(above)
        # Rows that map (x, z, o, u, supply, f1, r1, f2, r2) to a voltage.
        b, c, e, k, o = nodes
        x, z, out, u = np.eye(9)[:4]
        rows = np.stack(
            [
                (u - x - b) / (self.source_ohm * _INPUT_FARAD),
                ((e - z) / above - z / below) / _EMITTER_FARAD,
                (o - out) / (_VOLUME_OHM * _OUTPUT_FARAD),
            ]
        )
        v = np.stack([b, b - c, c - e, c - k])
        same = np.ones(4)
        junctions = Junctions(
            self.saturation_current_ampere * same, self.thermal_voltage_volt * same, np.zeros(4, dtype=bool)
        )
        of_x, of_u, of_j = slice(0, 3), slice(3, 5), slice(5, 9)
        return StateSpace(
            a=rows[:, of_x],
            b=rows[:, of_u],
            c=rows[:, of_j],
            d=v[:, of_x],
            e=v[:, of_u],
            f=v[:, of_j],
            outputs=volume * (o - out),
            junctions=junctions,
            supply=_SUPPLY_VOLT,
        )

    @staticmethod
    def fuzz_pot(position: float) -> tuple[float, float]:
        """Return Ra above and Rb below the wiper of the fuzz pot in ohm, for a position in [0, 1]; 1 is most fuzz."""
        track = _FUZZ_OHM - 2 * _POT_END_OHM
        return _POT_END_OHM + (1 - position) * track, _POT_END_OHM + position * track

    def _nodes(self, above: float) -> Array:
        """Solve the current law for B, C, E, K and O, given the fuzz pot's Ra in ohm.

        Returns:
            (5, 9): a row of coefficients of (x, z, o, u, supply, f1, r1, f2, r2) for each of these voltages.
        """
        source, c1, c2 = 1 / self.source_ohm, 1 / _COLLECTOR_1_OHM, 1 / _COLLECTOR_2_OHM
        load, feedback, pot, volume = 1 / _LOAD_OHM, 1 / _FEEDBACK_OHM, 1 / above, 1 / _VOLUME_OHM
        conductances = np.array(
            [
                [source + feedback, 0, -feedback, 0, 0],
                [0, c1, 0, 0, 0],
                [-feedback, 0, feedback + pot, 0, 0],
                [0, 0, 0, c2, -c2],
                [0, 0, 0, -c2, load + c2 + volume],
            ]
        )
        f1, r1, f2, r2 = np.eye(4)
        base_1, base_2 = f1 / self.gains[0] + r1 / self.reverse_gain, f2 / self.gains[1] + r2 / self.reverse_gain
        collector_1, collector_2 = (f - r * (1 + 1 / self.reverse_gain) for f, r in ((f1, r1), (f2, r2)))
        out = np.zeros(4)
        into = np.stack([-base_1, -collector_1 - base_2, base_2 + collector_2, -collector_2, out])
        sources = np.array(
            [[-source, 0, 0, source, 0], [0, 0, 0, 0, c1], [0, pot, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, volume, 0, load]]
        )
        solved: Array = np.linalg.solve(conductances, np.concatenate([sources, into], axis=1))
        return solved
