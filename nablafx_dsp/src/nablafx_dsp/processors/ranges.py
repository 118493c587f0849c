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
    """Return the curve of a frequency, a Q, a ratio or a time: logarithmic unless all curves are linear."""
    return "linear" if curves == "linear" else "log"


def with_ranges(
    owner: str,
    table: Sequence[Parameter],
    ranges: Mapping[str, tuple[float, float]],
    curves: Curves = "perceptual",
    least: Mapping[str, float] | None = None,
) -> tuple[Parameter, ...]:
    """Return the parameters of a table with the given ranges instead of its own.

    A parameter that keeps its range keeps its class too; a `Centred` parameter with a new range becomes a `Parameter`.

    Args:
        owner: name of the processor, for messages.
        table: parameters with their default ranges. A range from a positive value must stay positive, and a range from
            0 must not become negative.
        ranges: lowest and highest value, by parameter.
        curves: perceptual keeps the curves of the table.
        least: smallest value that a parameter may have, by name.

    Raises:
        ModelError: if there is no such parameter, or its range is reversed, infinite or begins too low.
    """
    known = {parameter.name: parameter for parameter in table}
    for name, (low, _) in ranges.items():
        if name not in known:
            raise ModelError(f"{owner}: there is no parameter '{name}'. Parameters: {', '.join(known) or 'none'}.")
        default = known[name].minimum
        if low < (least or {}).get(name, -math.inf) or low <= 0 < default or low < 0 == default:
            raise ModelError(f"{owner}: {name} cannot be as low as {low:g}. Raise the lower end of its range.")
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
