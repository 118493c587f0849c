"""One second-order filter: peaking, low-pass, high-pass or shelf."""

from __future__ import annotations

import inspect
import re
from typing import Any, Literal

from nablafx_core.errors import ModelError
from nablafx_dsp.processors.ranges import Curves
from nablafx_dsp.processors.second_order_sections import Band, SecondOrderSections

BiquadType = Literal["peaking", "lowpass", "highpass", "lowshelf", "highshelf"]

#: Types, with the default range of the cutoff in Hz.
TYPES: dict[str, tuple[float, float]] = {
    "peaking": (20.0, 20_000.0),
    "lowpass": (2_000.0, 20_000.0),
    "highpass": (20.0, 2_000.0),
    "lowshelf": (20.0, 2_000.0),
    "highshelf": (200.0, 2_000.0),
}

TITLES = {
    "peaking": "peaking filter",
    "lowpass": "low-pass filter",
    "highpass": "high-pass filter",
    "lowshelf": "low shelf",
    "highshelf": "high shelf",
}


class Biquad(SecondOrderSections):
    """Second-order filter of the audio EQ cookbook: an exact recursion, even when its parameters move.

    Parameters: ``gain_db`` (peaking filters and shelves only), ``cutoff_hz`` (the centre of a peaking filter) and
    ``q``. Cutoffs above 0.49 of the sample rate are clamped, and a range that reaches above it causes a warning.

    Args:
        type: filter type.
        sample_rate: sample rate in Hz.
        min_cutoff_hz, max_cutoff_hz: range of the cutoff in Hz. An end that is not given is that of the type's default
            range, whose upper end is limited to 0.49 of the sample rate.
        min_q, max_q: range of the quality factor.
        min_gain_db, max_gain_db: range of the gain in dB; not used by low-pass and high-pass filters.
        curves: how [0, 1] covers the ranges: ``perceptual`` (cutoff and Q on a log curve) or ``linear`` for all.

    Raises:
        ModelError: if the type is unknown, a cutoff or Q is not above 0, or a range is reversed or infinite.
    """

    def __init__(
        self,
        type: BiquadType,
        sample_rate: int = 48000,
        min_cutoff_hz: float | None = None,
        max_cutoff_hz: float | None = None,
        min_q: float = 0.1,
        max_q: float = 10.0,
        min_gain_db: float = -12.0,
        max_gain_db: float = 12.0,
        curves: Curves = "perceptual",
    ) -> None:
        if type not in TYPES:
            raise ModelError(f"biquad: unknown type '{type}'; expected one of {', '.join(TYPES)}.")
        band = Band("", type, *TYPES[type]).below(sample_rate)
        lowest = band.lowest if min_cutoff_hz is None else min_cutoff_hz
        highest = band.highest if max_cutoff_hz is None else max_cutoff_hz
        band = Band("", type, lowest, highest)
        super().__init__([band], sample_rate, (min_q, max_q), (min_gain_db, max_gain_db), curves)
        self.title = TITLES[type]


def _named(name: str, type_: BiquadType) -> type[Biquad]:
    """Return a subclass of `Biquad` with this name and a fixed type; its other settings are given by keyword."""

    def init(self: Biquad, **settings: Any) -> None:
        Biquad.__init__(self, type_, **settings)

    signature = inspect.signature(Biquad.__init__)
    kept = {key: parameter for key, parameter in signature.parameters.items() if key != "type"}
    init.__signature__ = signature.replace(parameters=list(kept.values()))  # type: ignore[attr-defined]
    init.__annotations__ = {key: parameter.annotation for key, parameter in kept.items() if key != "self"}
    init.__qualname__ = f"{name}.__init__"
    doc = re.sub(r"^ *type: .*\n", "", Biquad.__doc__ or "", flags=re.MULTILINE)
    return type(name, (Biquad,), {"__init__": init, "__doc__": doc, "__module__": __name__})


Peaking = _named("Peaking", "peaking")
Lowpass = _named("Lowpass", "lowpass")
Highpass = _named("Highpass", "highpass")
Lowshelf = _named("Lowshelf", "lowshelf")
Highshelf = _named("Highshelf", "highshelf")
