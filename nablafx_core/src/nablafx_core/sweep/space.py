"""What a sweep searches: for each setting a list of values, or a range."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from random import Random
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from nablafx_core.errors import ConfigError

#: Digits of a drawn value: as many as a person can read and type again.
DIGITS = 6


class Range(BaseModel):
    """Values between two bounds, both included.

    Even in the value, or with `log` even in its logarithm.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    min: Annotated[float, Field(allow_inf_nan=False)] = Field(description="The smallest value.")
    max: Annotated[float, Field(allow_inf_nan=False)] = Field(description="The largest value.")
    log: bool = Field(False, description="Even in the logarithm.")
    integer: bool = Field(False, description="Whole numbers only.")

    def problem(self) -> str | None:
        """What is wrong with the bounds, if anything."""
        if not self.min < self.max:
            return f"min must be less than max, not {self.min:g} and {self.max:g}."
        if self.log and self.min <= 0:
            return f"log needs a min above 0, not {self.min:g}."
        if self.integer and not (self.min.is_integer() and self.max.is_integer()):
            return f"integer needs whole bounds, not {self.min:g} and {self.max:g}."
        return None

    def draw(self, position: float) -> float | int:
        """The value at a position from 0 to below 1."""
        low, high = self.min, self.max + self.integer  # each whole number owns the interval up to the next
        if self.log:
            value = math.exp(math.log(low) + position * (math.log(high) - math.log(low)))
        else:
            value = low + position * (high - low)
        if self.integer:
            return int(min(max(math.floor(value), self.min), self.max))
        return min(max(float(f"{value:.{DIGITS}g}"), self.min), self.max)


@dataclass(frozen=True)
class Choices:
    """Values of a list, each as likely as the others."""

    values: tuple[Any, ...]

    def draw(self, position: float) -> Any:
        """The value at a position from 0 to below 1."""
        return self.values[int(position * len(self.values))]


Space = Mapping[str, Choices | Range]


def grid(space: Mapping[str, Choices]) -> Iterator[dict[str, Any]]:
    """All combinations, the last setting changing fastest."""
    for values in product(*(choices.values for choices in space.values())):
        yield dict(zip(space, values, strict=True))


def drawn(space: Space, count: int, seed: int) -> list[dict[str, Any]]:
    """Different combinations, drawn at random.

    Each setting has a generator of its own, made from the seed and its name: what one setting is given does not
    depend on which others there are, and more trials go on where fewer end.

    Args:
        space: by setting.
        count: how many.
        seed: the same one draws the same combinations, on every machine.

    Raises:
        ConfigError: if the space has not so many.
    """
    generators = {name: Random(f"{seed} {name}") for name in space}
    found: dict[str, dict[str, Any]] = {}
    for _ in range(100 * count):
        values = {name: part.draw(generators[name].random()) for name, part in space.items()}
        found.setdefault(repr(values), values)
        if len(found) == count:
            return list(found.values())
    raise ConfigError(
        f"sweep.trials: {count} different trials cannot be drawn from this space; {len(found)} were found. "
        "Lower sweep.trials, widen sweep.space, or use search: grid."
    )
