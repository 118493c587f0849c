"""Named quantities with a range: knobs of a model and parameters of a processor."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

from nablafx_core.errors import ModelError

Curve = Literal["linear", "log"]


@dataclass(frozen=True)
class Parameter:
    """A quantity in physical units, and how the interval [0, 1] covers its range.

    ``linear``: value = minimum + (maximum - minimum) u.
    ``log``: value = minimum (maximum / minimum)^u, for frequencies and ratios.

    Args:
        name: name, with the unit if it has one, such as ``"cutoff_hz"``.
        minimum: value at 0.
        maximum: value at 1.
        unit: unit such as ``"Hz"`` or ``"dB"``; empty for a plain number.
        curve: ``"linear"`` or ``"log"``.

    Raises:
        ModelError: if the range is not finite or is reversed, or if it is not positive on a log curve.
    """

    name: str
    minimum: float = 0.0
    maximum: float = 1.0
    unit: str = ""
    curve: Curve = "linear"

    #: Makes pydantic reject unknown keys in an experiment file.
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        if not (math.isfinite(self.minimum) and math.isfinite(self.maximum) and self.minimum <= self.maximum):
            raise ModelError(
                f"parameter '{self.name}': range {self.minimum} to {self.maximum} is not a range; it must ascend and "
                "be finite."
            )
        if self.curve not in _CURVES:
            raise ModelError(f"parameter '{self.name}': unknown curve '{self.curve}'. Curves: {', '.join(_CURVES)}.")
        if self.curve == "log" and self.minimum <= 0:
            raise ModelError(f"parameter '{self.name}': a log curve needs a minimum above 0, got {self.minimum}.")

    def from_unit(self, unit_value: Any) -> Any:
        """Map [0, 1] to physical units; works on floats, arrays and tensors."""
        return _CURVES[self.curve][0](unit_value, self.minimum, self.maximum)

    def to_unit(self, value: float) -> float:
        """Map a value in physical units to [0, 1]; return 0 if the range is a single value."""
        if self.minimum == self.maximum:
            return 0.0
        return _CURVES[self.curve][1](value, self.minimum, self.maximum)


_CURVES: dict[str, tuple[Callable[[Any, float, float], Any], Callable[[float, float, float], float]]] = {
    "linear": (
        lambda u, low, high: low + (high - low) * u,
        lambda value, low, high: (value - low) / (high - low),
    ),
    "log": (
        lambda u, low, high: low * (high / low) ** u,
        lambda value, low, high: math.log(value / low) / math.log(high / low),
    ),
}


@dataclass(frozen=True)
class Centred(Parameter):
    """Parameter with a wide range, for which u = 0.5 gives a chosen value in the middle of the common values.

    Let c be the position in [0, 1] at which the curve alone reaches the chosen value. The curve is then evaluated at
    v = c u / (c u + (1 - c) (1 - u)) instead of u. For u = sigmoid(x), v = sigmoid(x + log(c / (1 - c))): learning
    starts at another value and is otherwise unchanged.

    Args:
        middle: value at 0.5, inside the range.
        See Parameter for the other arguments.

    Raises:
        ModelError: if the middle is not inside the range.
    """

    middle: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.minimum < self.middle < self.maximum:
            raise ModelError(
                f"parameter '{self.name}': the middle {self.middle:g} is not between {self.minimum:g} and "
                f"{self.maximum:g}."
            )

    def from_unit(self, unit_value: Any) -> Any:
        """Map [0, 1] to physical units; works on floats, arrays and tensors."""
        c = super().to_unit(self.middle)
        return super().from_unit(c * unit_value / (c * unit_value + (1 - c) * (1 - unit_value)))

    def to_unit(self, value: float) -> float:
        """Map a value in physical units to [0, 1]."""
        c, v = super().to_unit(self.middle), super().to_unit(value)
        return (1 - c) * v / ((1 - c) * v + c * (1 - v))


@dataclass(frozen=True)
class Control(Parameter):
    """A knob or switch that a user of the model turns. Models receive it in [0, 1].

    Args:
        default: default value in physical units, or name of a position; the value at 0.5 if not given.
        positions: names of the positions of a switch, spread evenly over [0, 1]; empty for a knob.
        See Parameter for the other arguments.
    """

    default: float | str | None = None
    positions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "positions", tuple(self.positions))
        if len(self.positions) == 1:
            raise ModelError(f"control '{self.name}': a switch needs at least two positions.")
        if self.default is not None:
            self.parse(self.default)

    @property
    def span(self) -> str:
        """Range with its unit, or the names of the positions: ``"0 to 10 dB"``, ``"normal | bright"``."""
        return " | ".join(self.positions) or f"{self.minimum:g} to {self.maximum:g} {self.unit}".rstrip()

    @property
    def default_unit(self) -> float:
        """Default as a model receives it, in [0, 1]."""
        return 0.5 if self.default is None else self.parse(self.default)

    def written(self, unit_value: float) -> float | str:
        """Convert a value in [0, 1] to what a user writes: the value in its unit, or the name of the position."""
        if self.positions:
            return self.positions[round(unit_value * (len(self.positions) - 1))]
        return float(self.from_unit(unit_value))

    def parse(self, value: float | str) -> float:
        """Convert what a user writes (a value in its unit, or the name of a position) to a value in [0, 1].

        Raises:
            ModelError: if the value is not a number, is outside the range, or is not the name of a position.
        """
        if self.positions:
            if str(value) in self.positions:
                return self.positions.index(str(value)) / (len(self.positions) - 1)
            raise ModelError(
                f"control '{self.name}' has no position '{value}'. Positions: {', '.join(self.positions)}."
            )
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise ModelError(f"control '{self.name}': '{value}' is not a number.") from None
        if not self.minimum <= number <= self.maximum:
            raise ModelError(f"control '{self.name}': {number:g} is outside {self.span}.")
        return self.to_unit(number)

    def unit_positions(self, count: int) -> list[float]:
        """Return positions in [0, 1] that cover the range: each position of a switch, or `count` of a knob.

        Args:
            count: number of evenly spaced positions of a knob; 1 for the default alone, of a switch too.
        """
        if count == 1:
            return [self.default_unit]
        if self.positions:
            return [self.parse(position) for position in self.positions]
        step = 1 / (count - 1)  # multiplied as in numpy.linspace, so that rounded positions of earlier files stay
        return [*(index * step for index in range(count - 1)), 1.0]

    @classmethod
    def from_yaml(cls, entry: Mapping[str, str | list[str]]) -> Control:
        """Return the control that a mapping of a ``device.yaml`` describes; the inverse of `to_yaml`.

        The keys are those of the class, with ``taper`` for the curve. A knob is from 0 to 10 unless the mapping says
        otherwise.

        Args:
            entry: texts as they are written, because YAML reads positions such as on and off as booleans.

        Raises:
            ModelError: if a key is unknown, a value is not of its type, or the values do not make a control.
        """
        for key, value in entry.items():
            wanted = list if key == "positions" else str
            inside = value if isinstance(value, list) else []
            if key not in _YAML_KEYS or not isinstance(value, wanted) or not all(isinstance(x, str) for x in inside):
                raise ModelError(f"expected a mapping with {', '.join(_YAML_KEYS)}, got {dict(entry)!s:.80}.")
        given: dict[str, Any] = {_YAML_KEYS[key]: value for key, value in entry.items()}
        if given.get("positions"):
            for key in {"minimum", "maximum"} & set(given):
                raise ModelError(f"a switch with positions has no '{key}'. Remove it.")
            return cls(**given)
        for key in {"minimum", "maximum", "default"} & set(given):
            try:
                given[key] = float(given[key])
            except ValueError:
                raise ModelError(f"{key}: '{given[key]}' is not a number.") from None
        return cls(**{"minimum": 0.0, "maximum": 10.0, **given})

    def to_yaml(self) -> dict[str, Any]:
        """Return the control as a mapping for a ``device.yaml``; see `from_yaml`."""
        unwritten = {"unit", "minimum", "maximum", "curve"} if self.positions else {"positions"}
        unwritten |= {"default"} if self.default is None else set()
        values = {key: getattr(self, name) for key, name in _YAML_KEYS.items() if name not in unwritten}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


#: Keys of a control in a ``device.yaml``, and the fields for which they stand.
_YAML_KEYS = {"taper" if field.name == "curve" else field.name: field.name for field in fields(Control)}
