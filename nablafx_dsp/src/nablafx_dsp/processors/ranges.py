"""Ranges that an experiment file gives to a processor's parameters, and how [0, 1] covers them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from nablafx_core.controls import Curve, Parameter
from nablafx_core.errors import ModelError

#: How [0, 1] covers the ranges of a processor: each on the curve that suits hearing, or all linearly.
Curves = Literal["perceptual", "linear"]


def log_curve(curves: Curves) -> Curve:
    """Return the curve of a frequency, a Q, a ratio or a time: "linear" if `curves` is linear, otherwise "log"."""
    return "linear" if curves == "linear" else "log"


def with_ranges(
    owner: str,
    table: Sequence[Parameter],
    ranges: Mapping[str, tuple[float, float]],
    curves: Curves = "perceptual",
    least: Mapping[str, float] | None = None,
) -> tuple[Parameter, ...]:
    """Return the parameters of a table, some with other ranges.

    With perceptual curves, a parameter that is not in `ranges` is returned as it is, and the others become a
    `Parameter` with the curve of the table, also if the table has a `Centred` parameter. With linear curves, each
    becomes a linear `Parameter`.

    Args:
        owner: name of the processor, for messages.
        table: parameters with their default ranges. If a default range begins above 0, a new range must too; if it
            begins at 0, a new range must not begin below.
        ranges: lowest and highest value, by parameter.
        curves: perceptual for the curves of the table, linear for linear curves only.
        least: smallest allowed lower end of a new range, by parameter.

    Raises:
        ModelError: if `ranges` names an unknown parameter, or a range is reversed, infinite or begins too low.
    """
    known = {parameter.name: parameter for parameter in table}
    for name, (low, _) in ranges.items():
        if name not in known:
            raise ModelError(
                f"{owner}: unknown parameter '{name}' in ranges. Parameters: {', '.join(known) or 'none'}."
            )
        default, bound = known[name].minimum, (least or {}).get(name, -math.inf)
        if low < bound or low <= 0 < default or low < 0 == default:
            allowed = f"{bound:g} or more" if low < bound else "above 0" if default > 0 else "0 or more"
            raise ModelError(f"{owner}: the range of {name} begins at {low:g}; its lower end must be {allowed}.")
    return tuple(
        own
        if curves == "perceptual" and own.name not in ranges
        else Parameter(
            own.name,
            *ranges.get(own.name, (own.minimum, own.maximum)),
            own.unit,
            own.curve if curves == "perceptual" else "linear",
        )
        for own in table
    )
