"""A device, which renders audio for simulated data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import signal

from nablafx_core.controls import Control
from nablafx_core.errors import DataError
from nablafx_core.interfaces import Device


class GuitarCircuit(Device):
    """Electric circuit of a guitar, driven by the voltage that its strings induce: pickup, tone, volume and cable.

    A coil (R and L in series) feeds three branches to ground: the cable C, the volume knob Rv, and the tone capacitor
    Ct after the tone knob t Rt. With Y(s) = s C + 1 / Rv + s Ct / (1 + s Ct t Rt) for these branches,

    H(s) = 1 / (1 + (R + s L) Y(s)),

    which is a low-pass with a resonance, discretised by the bilinear transform. The values are those of a humbucker.

    Args:
        resistance_ohm: R.
        inductance_henry: L.
        cable_farad: C, about 100 pF per metre.
        tone_farad: Ct.
        knob_ohm: Rt and Rv.
    """

    controls = (Control("tone", 0.0, 10.0, default=10.0),)

    def __init__(
        self,
        resistance_ohm: float = 8.0e3,
        inductance_henry: float = 4.4,
        cable_farad: float = 700e-12,
        tone_farad: float = 22e-9,
        knob_ohm: float = 500e3,
    ) -> None:
        self.resistance_ohm = resistance_ohm
        self.inductance_henry = inductance_henry
        self.cable_farad = cable_farad
        self.tone_farad = tone_farad
        self.knob_ohm = knob_ohm

    def render(self, audio: Any, sample_rate: int, controls: Sequence[float] = ()) -> Any:
        """Render a mono signal (time,) from rest; float64 (time,).

        Raises:
            DataError: if the audio is not mono or the number of controls is wrong.
        """
        audio = np.asarray(audio, dtype=np.float64)
        units = list(controls) or [control.default_unit for control in self.controls]
        if audio.ndim != 1 or len(units) != 1:
            raise DataError(
                f"guitar-circuit: expected audio (time,) and 1 control (tone), got audio of shape {audio.shape} and "
                f"{len(units)} controls."
            )
        return signal.lfilter(*signal.bilinear(*self.polynomials(units[0]), sample_rate), audio)

    def polynomials(self, tone: float) -> tuple[Any, Any]:
        """Return numerator and denominator of H(s), highest power first, for the knob in [0, 1]."""
        delay = [self.tone_farad * tone * self.knob_ohm, 1.0]  # 1 + s Ct t Rt
        coil = [self.inductance_henry, self.resistance_ohm]
        branches = np.polyadd(np.polymul([self.cable_farad, 1 / self.knob_ohm], delay), [self.tone_farad, 0.0])
        return np.array(delay), np.polyadd(np.polymul(coil, branches), delay)
