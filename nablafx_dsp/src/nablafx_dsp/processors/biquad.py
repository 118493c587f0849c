"""One second-order filter: peaking, low-pass, high-pass or shelf."""

from __future__ import annotations

import warnings
from typing import Literal

import torch
from torch import Tensor

from nablafx_core.controls import Curve, Parameter
from nablafx_core.errors import ModelError
from nablafx_core.interfaces import Processor
from nablafx_core.state import State
from nablafx_dsp.functional.biquad import cascade
from nablafx_dsp.functional.cookbook import HIGHEST, biquad_coefficients

BiquadType = Literal["peaking", "lowpass", "highpass", "lowshelf", "highshelf"]

#: Lowest and highest cutoff in Hz where the experiment does not say, and whether the type has a gain.
TYPES: dict[str, tuple[float, float, bool]] = {
    "peaking": (20.0, 20_000.0, True),
    "lowpass": (2_000.0, 20_000.0, False),
    "highpass": (20.0, 2_000.0, False),
    "lowshelf": (20.0, 2_000.0, True),
    "highshelf": (200.0, 2_000.0, True),
}


class Biquad(Processor):
    """Second-order filter by the audio EQ cookbook, an exact recursion, whether its parameters move or not.

    Parameters: ``gain_db`` (peaking filters and shelves only), ``cutoff_hz`` (the centre of a peaking filter) and
    ``q``. Frequencies at or above 0.49 of the sample rate are clamped there. State: the two memories of the
    transposed direct form II, in float64.

    Args:
        type: the shape of its response.
        sample_rate: Hz.
        min_cutoff_hz, max_cutoff_hz: range of the cutoff; the type's own if not given.
        min_q, max_q: range of the quality factor.
        min_gain_db, max_gain_db: range of the gain.
        curves: how [0, 1] covers the ranges: perceptual (cutoff and Q on a log curve) or linear throughout.

    Raises:
        ModelError: if the type is unknown or a range is empty or not positive.
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
        curves: Literal["perceptual", "linear"] = "perceptual",
    ) -> None:
        super().__init__(sample_rate)
        if type not in TYPES:
            raise ModelError(f"biquad: there is no type '{type}'. Types: {', '.join(TYPES)}.")
        lowest, highest, has_gain = TYPES[type]
        lowest = lowest if min_cutoff_hz is None else min_cutoff_hz
        highest = highest if max_cutoff_hz is None else max_cutoff_hz
        if min(lowest, min_q) <= 0:
            raise ModelError(f"biquad: cutoff (from {lowest:g} Hz) and Q (from {min_q:g}) must be above 0.")
        if highest >= HIGHEST * sample_rate:
            warnings.warn(
                f"biquad ({type}): its cutoff reaches {highest:g} Hz; at {sample_rate} Hz what is above "
                f"{HIGHEST * sample_rate:g} Hz is clamped there. Lower max_cutoff_hz to use the whole range.",
                stacklevel=2,
            )
        curve: Curve = "linear" if curves == "linear" else "log"
        gain = (Parameter("gain_db", min_gain_db, max_gain_db, "dB"),) if has_gain else ()
        cutoff, quality = Parameter("cutoff_hz", lowest, highest, "Hz", curve), Parameter("q", min_q, max_q, "", curve)
        self.filter_type = type
        self.effect_parameters = (*gain, cutoff, quality)

    def macs_per_sample(self) -> float:
        """y = b0 x + b1 x' + b2 x'' - a1 y' - a2 y''."""
        return 5.0

    def initial_state(self, batch_size: int, parameters: dict[str, Tensor] | None = None) -> State:
        """Silence before the first sample."""
        return {"z": torch.zeros(batch_size, 1, 2, dtype=torch.float64)}

    def forward(self, audio: Tensor, parameters: dict[str, Tensor], state: State | None = None) -> tuple[Tensor, State]:
        """Filter audio (batch, 1, time)."""
        coefficients = biquad_coefficients(self.filter_type, **parameters, sample_rate=self.sample_rate)
        output, z = cascade(audio[:, 0], coefficients[:, None], None if state is None else state["z"])
        return output[:, None], {"z": z}
