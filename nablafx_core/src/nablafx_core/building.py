"""From a section of an experiment to the object that it describes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from nablafx_core.errors import ConfigError
from nablafx_core.registry import Registry
from nablafx_core.settings import BESIDE, settings_of, unknown_setting


def build(kind: str, section: str | Mapping[str, Any], **injected: Any) -> Any:
    """Build a component from its section: a name, and the settings of the class that it names.

    Args:
        kind: such as ``"model"``.
        section: ``{"name": "tcn", "num_blocks": 5}``, or just the name. Keys that belong to the
            framework (a loss's weight, a processor's controller) are left out.
        injected: arguments that the framework gives; those the class does not take are left out.

    Raises:
        RegistryError: if the name is unknown or its code cannot be imported.
        ConfigError: if the class refuses the settings.
    """
    settings = {"name": section} if isinstance(section, str) else dict(section)
    if "name" not in settings:
        raise ConfigError(f"A {kind} section needs a name: {settings!r:.80}")
    entry = Registry.discover().find(kind, str(settings.pop("name")))
    target = entry.load()
    beside = {setting.name for setting in BESIDE.get(kind, ())}
    own = {key: value for key, value in settings.items() if key not in beside}
    arguments = {**own, **_taken(target, injected)}
    if kind == "model" and "controls" in arguments:
        arguments["controls"] = _controls(arguments["controls"])
    known = settings_of(target)
    for key in own:
        if key not in known:
            raise ConfigError(unknown_setting(f"{kind} '{entry.qualified_name}'", key, known))
    try:
        inspect.signature(target).bind(**arguments)
    except TypeError as error:
        raise ConfigError(f"{kind} '{entry.qualified_name}': {error}.") from None
    built = target(**arguments)
    if kind == "model":
        built.section = {"name": entry.qualified_name, **own, **_plain(injected)}
    return built


def _taken(target: Any, injected: dict[str, Any]) -> dict[str, Any]:
    parameters = inspect.signature(target).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return injected
    return {name: value for name, value in injected.items() if name in parameters}


def _controls(controls: Any) -> tuple[Any, ...]:
    from nablafx_core.controls import Control

    def made(control: Any) -> Control:
        if isinstance(control, Control):
            return control
        return Control(**{**control, "positions": tuple(control.get("positions", ()))})

    return tuple(made(control) for control in controls)


def _plain(injected: dict[str, Any]) -> dict[str, Any]:
    """Injected values as a bundle stores them."""
    from dataclasses import asdict, is_dataclass

    def plain(value: Any) -> Any:
        if is_dataclass(value) and not isinstance(value, type):
            return {key: plain(item) for key, item in asdict(value).items()}
        return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value

    return {name: plain(value) for name, value in injected.items()}
