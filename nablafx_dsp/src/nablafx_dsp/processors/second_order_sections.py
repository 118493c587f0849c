"""Processors that are a cascade of second-order filters, defined by a table of bands."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nablafx_core.controls import Parameter
from nablafx_core.errors import ModelError
from nablafx_core.interfaces import Processor
from nablafx_core.state import State
from nablafx_dsp.frames import framed
from nablafx_dsp.functional.biquad import cascade
from nablafx_dsp.functional.cookbook import HIGHEST, cascade_coefficients
from nablafx_dsp.processors.ranges import Curves, log_curve

#: Filter types that have a gain.
WITH_GAIN = ("peaking", "lowshelf", "highshelf")


class Band(NamedTuple):
    """One filter of a cascade.

    Args:
        name: prefix of its parameters' names, before an underscore; empty for names without a prefix.
        type: filter type, a key of `nablafx_dsp.functional.cookbook.FORMULAS`.
        lowest, highest: range of its cutoff in Hz. Cutoffs above 0.49 of the sample rate are clamped.
    """

    name: str
    type: str
    lowest: float
    highest: float

    def below(self, sample_rate: float) -> Band:
        """Return the band with the upper end of its range limited to 0.49 of a sample rate in Hz.

        If the limit leaves less than an octave, the lower end is reduced by the same factor as the upper end.
        """
        highest = min(self.highest, HIGHEST * sample_rate)
        narrow = highest < min(2 * self.lowest, self.highest)
        lowest = highest * self.lowest / self.highest if narrow else self.lowest
        return self._replace(lowest=lowest, highest=highest)


class SecondOrderSections(Processor):
    """Second-order filters of the audio EQ cookbook in series, exact even when their parameters move.

    Each band has the parameters ``gain_db`` (peaking filters and shelves only), ``cutoff_hz`` (the centre of a peaking
    filter) and ``q``, in this order, after the prefix ``{name}_`` if the band has a name. Parameters per block of
    samples give coefficients per block. There is no latency. State ``z``: the two values of each section's transposed
    direct form II, (batch, sections, 2), in float64. Coefficients are computed in float64 too, so that a 20 Hz filter
    is exact for float32 audio (on MPS, which has no float64, both are float32).

    A band whose range reaches above 0.49 of the sample rate causes a warning.

    Args:
        bands: bands in order.
        sample_rate: sample rate in Hz.
        q: lowest and highest quality factor of each band.
        gain_db: lowest and highest gain in dB of each band that has a gain.
        curves: how [0, 1] covers the ranges: ``perceptual`` (cutoff and Q on a log curve) or ``linear`` for all.

    Raises:
        ModelError: if a cutoff or Q is not above 0, or a range is reversed or infinite.
    """

    takes_steps = True
    shape = "filter"

    def __init__(
        self,
        bands: Sequence[Band],
        sample_rate: int,
        q: tuple[float, float],
        gain_db: tuple[float, float],
        curves: Curves,
    ) -> None:
        super().__init__(sample_rate)
        curve = log_curve(curves)
        parameters: list[Parameter] = []
        for band in bands:
            self._check(band, q[0])
            start = f"{band.name}_" if band.name else ""
            if band.type in WITH_GAIN:
                parameters.append(Parameter(f"{start}gain_db", *gain_db, "dB"))
            parameters.append(Parameter(f"{start}cutoff_hz", band.lowest, band.highest, "Hz", curve))
            parameters.append(Parameter(f"{start}q", *q, "", curve))
        self.bands = tuple(bands)
        self.effect_parameters = tuple(parameters)
        self._types = tuple(band.type for band in bands)
        starts = [f"{band.name}_" if band.name else "" for band in bands]
        self._names = tuple(start + name for name in ("cutoff_hz", "q", "gain_db") for start in starts)

    def _check(self, band: Band, lowest_q: float) -> None:
        name = band.name or band.type
        if min(band.lowest, lowest_q) <= 0:
            raise ModelError(f"{name}: cutoff (from {band.lowest:g} Hz) and Q (from {lowest_q:g}) must be above 0.")
        if band.lowest > band.highest:
            raise ModelError(
                f"{name}: its cutoff range of {band.lowest:g} to {band.highest:g} Hz is reversed. Set both ends; if "
                f"only one is set, the other is a default, which at a sample rate of {self.sample_rate} Hz is at most "
                f"{HIGHEST * self.sample_rate:g} Hz."
            )
        if band.highest > HIGHEST * self.sample_rate:
            warnings.warn(
                f"{name}: its cutoff range reaches {band.highest:g} Hz; at a sample rate of {self.sample_rate} Hz, "
                f"cutoffs above {HIGHEST * self.sample_rate:g} Hz are clamped. Lower the upper end of the range.",
                stacklevel=4,
            )

    def macs_per_sample(self) -> float:
        """Return five multiply-accumulates per section: y = b0 x + b1 x' + b2 x'' - a1 y' - a2 y''."""
        return 5.0 * len(self.bands)

    def initial_state(self, batch_size: int, parameters: dict[str, Tensor] | None = None) -> State:
        """Return the state for silence before the first sample."""
        return {"z": torch.zeros(batch_size, len(self.bands), 2, dtype=torch.float64)}

    def coefficients(self, parameters: dict[str, Tensor]) -> Tensor:
        """Return b0, b1, b2, a1, a2 (with a0 = 1) of each section, (batch, sections, 5, frames).

        Args:
            parameters: parameters by name, each (batch,) or (batch, frames). If all are (batch,), there is one frame.
        """
        values = list(parameters.values())
        if any(value.ndim == 2 for value in values):
            frames = max(value.shape[-1] for value in values if value.ndim == 2)
            parameters = {
                name: (value if value.ndim == 2 else value[:, None]).expand(-1, frames)
                for name, value in parameters.items()
            }
            values = list(parameters.values())
        none = torch.zeros_like(values[0])
        stacked = torch.stack([parameters.get(name, none) for name in self._names], dim=1)
        cutoff, quality, gain = stacked.reshape(stacked.shape[0], 3, len(self.bands), -1).unbind(1)
        return cascade_coefficients(self._types, cutoff, quality, gain, self.sample_rate)

    def forward(self, audio: Tensor, parameters: dict[str, Any], state: State | None = None) -> tuple[Tensor, State]:
        """Filter audio (batch, 1, time).

        Args:
            audio: x, (batch, 1, time).
            parameters: parameters by name, each (batch,), (batch, time), or `Steps` of (batch, blocks).
            state: state after the previous audio; None for silence before.

        Returns:
            y, (batch, 1, time), and the state after it.
        """
        batch, _, time = audio.shape
        z = self.initial_state(batch)["z"] if state is None else state["z"]
        if not time:
            return audio, {"z": z}
        values, block_size, skip = framed(parameters, time)
        blocks = -(-(time + skip) // block_size)
        used = {name: value[:, max(value.shape[-1] - blocks, 0) :] for name, value in values.items()}
        output, z = cascade(audio[:, 0], self.coefficients(used), z, block_size=block_size, skip=skip)
        return output[:, None], {"z": z}
