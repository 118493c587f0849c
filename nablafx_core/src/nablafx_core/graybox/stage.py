"""One processor with its controller and its fixed parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from nablafx_core.controls import Parameter
from nablafx_core.errors import ConfigError
from nablafx_core.graybox.nothing import NOTHING, NoController
from nablafx_core.interfaces import Controller, Processor
from nablafx_core.registry.building import build
from nablafx_core.steps import Steps

#: Part of a parameter's range, as a fraction, that counts as its end.
NEAR_END = 0.01


@dataclass(frozen=True)
class Stage:
    """Processor with its controller and its fixed parameters.

    Args:
        processor: effect that processes the audio.
        controller: controller that outputs the parameters that are not fixed, each in [0, 1], in the order of
            `Processor.effect_parameters`.
        fixed: values in physical units of parameters that no controller drives, by name.
        label: name of the output, which controllers after it can read.

    Raises:
        ConfigError: if a fixed parameter does not exist or is outside its range, or the number of the controller's
            outputs is not the number of parameters that are not fixed.
    """

    processor: Processor
    controller: Controller
    fixed: Mapping[str, float] = field(default_factory=dict)
    label: str | None = None

    def __post_init__(self) -> None:
        name = type(self.processor).__name__
        driven = driven_parameters(self.processor, self.fixed)
        if self.controller.num_parameters != len(driven):
            raise ConfigError(
                f"{name}: its controller drives {self.controller.num_parameters} parameters, but {len(driven)} are not "
                f"fixed: {_names(driven)}. Add a controller with as many outputs, such as 'static', or set the values "
                "of parameters in 'fixed'."
            )

    @property
    def driven(self) -> tuple[Parameter, ...]:
        """Parameters that the controller drives."""
        return driven_parameters(self.processor, self.fixed)

    def at_end(self, name: str, low: float, high: float) -> Literal["", "lowest", "highest"]:
        """Return the end of its range at which a driven parameter is.

        It is empty if the parameter is inside its range, is fixed, or has a range of a single value.

        Args:
            name: name of the parameter.
            low, high: its lowest and highest value, in physical units; both must be within `NEAR_END` of that end.
        """
        parameter = next((one for one in self.driven if one.name == name), None)
        if parameter is None or parameter.minimum == parameter.maximum:
            return ""
        if parameter.to_unit(low) > 1 - NEAR_END:
            return "highest"
        return "lowest" if parameter.to_unit(high) < NEAR_END else ""

    def values(self, unit: Tensor | Steps) -> dict[str, Any]:
        """Return all parameters of the processor in physical units, the fixed and the driven ones.

        Args:
            unit: output of the controller in [0, 1], (batch, n), (batch, n, time) or steps of (batch, n, blocks).

        Returns:
            Values by the name of the parameter: (batch,) for fixed ones; (batch,), (batch, time) or steps of
            (batch, blocks) for driven ones, as `unit` is.
        """
        units = unit.values if isinstance(unit, Steps) else unit
        values: dict[str, Any] = {name: units.new_full(units.shape[:1], value) for name, value in self.fixed.items()}
        for i, parameter in enumerate(self.driven):
            value = parameter.from_unit(units[:, i])
            values[parameter.name] = unit._replace(values=value) if isinstance(unit, Steps) else value
        return values

    def given(self, unit: Tensor | Steps, time: int) -> dict[str, Any]:
        """Return `values` in the form that the processor expects.

        Steps are restricted to the last `time` samples, and expanded to one value per sample unless the processor
        declares `takes_steps`. Other values are not changed: if they have a time axis, it has `time` samples.
        """
        if isinstance(unit, Steps):
            unit = unit.last(time) if self.processor.takes_steps else unit.over(time)
        return self.values(unit)


def driven_parameters(processor: Processor, fixed: Mapping[str, float]) -> tuple[Parameter, ...]:
    """Return the parameters of a processor that are not fixed, in their order.

    Raises:
        ConfigError: if a fixed parameter does not exist or is outside its range.
    """
    owner, known = type(processor).__name__, {parameter.name: parameter for parameter in processor.effect_parameters}
    for name, value in fixed.items():
        if name not in known:
            raise ConfigError(f"{owner}: cannot fix '{name}'. Parameters: {_names(processor.effect_parameters)}.")
        low, high = known[name].minimum, known[name].maximum
        if not low <= value <= high:
            raise ConfigError(
                f"{owner}: {name} is fixed at {value:g}, outside {low:g} to {high:g}. Widen its range or change the "
                "value."
            )
    return tuple(parameter for name, parameter in known.items() if name not in fixed)


def stage_from_section(section: Mapping[str, Any], sample_rate: int, num_controls: int) -> Stage:
    """Build a stage from a section ``{name: …, controller: …, fixed: …, lr_multiplier: …, label: …, setting: …}``.

    Raises:
        RegistryError: if no pack has the processor or the controller.
        ConfigError: if a setting is invalid, or as in `stage_of`.
    """
    return stage_of(build("processor", section, sample_rate=sample_rate), section, num_controls)


def stage_of(processor: Processor, section: Mapping[str, Any], num_controls: int) -> Stage:
    """Build the stage of a processor from the framework's keys of its section.

    Without a controller, parameters whose range is a single value are fixed at it. A ``lr_multiplier`` replaces that of
    the processor.

    Raises:
        ConfigError: if a parameter is neither driven nor fixed, or `fixed` is invalid; see `Stage`.
    """
    controller, fixed = section.get("controller"), dict(section.get("fixed") or {})
    nothing = not controller or _name(controller) in NOTHING
    if section.get("lr_multiplier") is not None:
        processor.lr_multiplier = section["lr_multiplier"]
    if nothing:
        fixed |= {p.name: p.minimum for p in processor.effect_parameters if p.minimum == p.maximum}
    count = len(driven_parameters(processor, fixed))
    filled = {"num_parameters": count, "num_controls": num_controls, "sample_rate": processor.sample_rate}
    driver = build("controller", controller, **filled) if controller else NoController(num_controls)
    return Stage(processor, driver, fixed, section.get("label"))


def _name(section: Mapping[str, Any] | str) -> str:
    return section if isinstance(section, str) else str(section.get("name"))


def _names(parameters: tuple[Parameter, ...]) -> str:
    return ", ".join(parameter.name for parameter in parameters) or "none"
