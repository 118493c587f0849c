"""Equalizers: several second-order filters, each with its own range of frequencies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from nablafx_core.errors import ModelError
from nablafx_dsp.processors.ranges import Curves
from nablafx_dsp.processors.second_order_sections import Band, SecondOrderSections


class Equalizer(SecondOrderSections):
    """Base class of equalizers: second-order filters in series, one for each band of the class's ``table``.

    Each band has the parameters ``{band}_gain_db`` (peaking filters and shelves only), ``{band}_cutoff_hz`` and
    ``{band}_q``, with the name of the band.

    Args:
        sample_rate: sample rate in Hz.
        min_gain_db, max_gain_db: range of each gain in dB; low-pass and high-pass filters have none.
        min_q, max_q: range of each quality factor.
        cutoffs_hz: lowest and highest cutoff in Hz by band, instead of the default range, whose upper end is limited to
            0.49 of the sample rate. Cutoffs above 0.49 of the sample rate are clamped.
        curves: how [0, 1] covers the ranges: ``perceptual`` (cutoff and Q on a log curve) or ``linear`` for all.

    Raises:
        ModelError: if a band is unknown, a cutoff or Q is not above 0, or a range is reversed or infinite.
    """

    table: ClassVar[tuple[Band, ...]]

    def __init__(
        self,
        sample_rate: int = 48000,
        min_gain_db: float = -12.0,
        max_gain_db: float = 12.0,
        min_q: float = 0.1,
        max_q: float = 10.0,
        cutoffs_hz: dict[str, tuple[float, float]] | None = None,
        curves: Curves = "perceptual",
    ) -> None:
        bands = self._bands(sample_rate, cutoffs_hz or {})
        super().__init__(bands, sample_rate, (min_q, max_q), (min_gain_db, max_gain_db), curves)

    def _bands(self, sample_rate: int, cutoffs_hz: Mapping[str, tuple[float, float]]) -> list[Band]:
        names = [band.name for band in self.table]
        for name in cutoffs_hz:
            if name not in names:
                raise ModelError(
                    f"{type(self).__name__}: unknown band '{name}' in cutoffs_hz. Bands: {', '.join(names)}."
                )
        return [
            Band(band.name, band.type, *cutoffs_hz[band.name]) if band.name in cutoffs_hz else band.below(sample_rate)
            for band in self.table
        ]


class ParametricEQ(Equalizer):
    """Low shelf, three peaking filters and a high shelf: 15 parameters, ``lowshelf_gain_db`` to ``highshelf_q``."""

    title = "parametric EQ"
    table = (
        Band("lowshelf", "lowshelf", 20.0, 2_000.0),
        Band("peak1", "peaking", 20.0, 200.0),
        Band("peak2", "peaking", 200.0, 2_000.0),
        Band("peak3", "peaking", 2_000.0, 12_000.0),
        Band("highshelf", "highshelf", 4_000.0, 16_000.0),
    )


class ShelvingEQ(Equalizer):
    """High-pass, low shelf, high shelf and low-pass: 10 parameters, ``highpass_cutoff_hz`` to ``lowpass_q``."""

    title = "shelving EQ"
    table = (
        Band("highpass", "highpass", 20.0, 2_000.0),
        Band("lowshelf", "lowshelf", 20.0, 4_000.0),
        Band("highshelf", "highshelf", 4_000.0, 24_000.0),
        Band("lowpass", "lowpass", 4_000.0, 24_000.0),
    )
