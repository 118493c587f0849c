"""The search space of a sweep: a list of values or a range for each setting."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from random import Random
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from nablafx_core.errors import ConfigError

#: Number of significant digits of a drawn value, so that a user can read it and type it again.
DIGITS = 6


class Range(BaseModel):
    """Values between two bounds, both included, uniformly distributed; with `log`, their logarithm is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min: Annotated[float, Field(allow_inf_nan=False)] = Field(description="Smallest value.")
    max: Annotated[float, Field(allow_inf_nan=False)] = Field(description="Largest value.")
    log: bool = Field(False, description="Uniform in the logarithm of the value.")
    integer: bool = Field(False, description="Whole numbers only.")

    def problem(self) -> str | None:
        """Return the problem of the bounds as a sentence, or None if they are valid."""
        if not self.min < self.max:
            return f"min must be less than max, not {self.min:g} and {self.max:g}."
        if self.log and self.min <= 0:
            return f"log requires a min above 0, not {self.min:g}."
        if self.integer and not (self.min.is_integer() and self.max.is_integer()):
            return f"integer requires whole bounds, not {self.min:g} and {self.max:g}."
        return None

    def draw(self, position: float) -> float | int:
        """Return the value at a position in [0, 1), whole with `integer`, else with `DIGITS` significant digits."""
        low, high = self.min, self.max + self.integer  # each whole number stands for the interval up to the next
        if self.log:
            value = math.exp(math.log(low) + position * (math.log(high) - math.log(low)))
        else:
            value = low + position * (high - low)
        if self.integer:
            return int(min(max(math.floor(value), self.min), self.max))
        return min(max(float(f"{value:.{DIGITS}g}"), self.min), self.max)


@dataclass(frozen=True)
class Choices:
    """Values of a list, all equally likely."""

    values: tuple[Any, ...]

    def draw(self, position: float) -> Any:
        """Return the value at a position in [0, 1), the first one at 0."""
        return self.values[int(position * len(self.values))]


Space = Mapping[str, Choices | Range]


def grid(space: Mapping[str, Choices]) -> Iterator[dict[str, Any]]:
    """Yield all combinations of the values, each by the path of its setting; the last setting changes fastest."""
    for values in product(*(choices.values for choices in space.values())):
        yield dict(zip(space, values, strict=True))


def drawn(space: Space, count: int, seed: int) -> list[dict[str, Any]]:
    """Draw different combinations at random.

    Each setting has its own generator, seeded by `seed` and its name. The values of a setting therefore do not depend
    on the other settings, and a larger `count` gives the same first combinations.

    Args:
        space: values or range of each setting.
        count: number of combinations.
        seed: seed; the same one gives the same combinations on every machine.

    Raises:
        ConfigError: if 100 `count` draws do not give `count` different combinations, because the space has too few.
    """
    generators = {name: Random(f"{seed} {name}") for name in space}
    found: dict[str, dict[str, Any]] = {}
    for _ in range(100 * count):
        values = {name: part.draw(generators[name].random()) for name, part in space.items()}
        found.setdefault(repr(values), values)
        if len(found) == count:
            return list(found.values())
    raise ConfigError(
        f"sweep.trials: {count} different trials cannot be drawn from this space; only {len(found)} were found. "
        "Lower sweep.trials, widen sweep.space, or use search: grid."
    )
