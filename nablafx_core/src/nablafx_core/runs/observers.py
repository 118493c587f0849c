"""Build observers from the section `track.observers` of an experiment."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nablafx_core.causes import cause
from nablafx_core.config.secrets import all_texts, expanded, hidden, names_variable
from nablafx_core.errors import ConfigError, NablafxError
from nablafx_core.registry import Registry
from nablafx_core.registry.building import build, component_class
from nablafx_core.registry.settings import Setting, SettingsError, checked_value, settings_of
from nablafx_core.runs.guard import Guarded


def built_observers(sections: Sequence[Mapping[str, Any]]) -> list[Guarded]:
    """Build the observers of an experiment.

    In their settings each ``${NAME}`` is replaced by the environment variable of that name. The file named by
    `from_config` supplies settings that the section does not have. Values from both are never recorded.

    Args:
        sections: section `track.observers` of the experiment; each item has a name and settings.

    Raises:
        ConfigError: if there is no such observer, a module that it needs is not installed, a variable is not set, a
            file cannot be read, or an observer rejects its settings. The message does not contain secrets.
    """
    return [_built(section, f"track.observers.{number}") for number, section in enumerate(sections)]


def _built(section: Mapping[str, Any], where: str) -> Guarded:
    secrets: set[str] = set()
    name = section["name"]
    try:
        own = {key: value for key, value in section.items() if key not in ("name", "from_config")}
        settings = {**_from_file(section.get("from_config"), where, secrets), **own}
        observer = build("observer", {"name": name, **_resolved(name, settings, where, secrets)})
        return Guarded(observer, secrets)
    except NablafxError as error:
        text = hidden(str(error), secrets)
        if isinstance(missing := error.__cause__, ModuleNotFoundError):
            text = f"{name} requires the module '{str(missing.name).partition('.')[0]}', which is not installed."
        problem = text if text.startswith(where) else f"{where}: {text}"
    except Exception as error:
        problem = f"{where}: {name} cannot be created with these settings: {hidden(cause(error), secrets)}."
    raise ConfigError(problem)  # outside the handler: the error's context could contain a secret


def _from_file(name: str | None, where: str, secrets: set[str]) -> dict[str, Any]:
    """Return the settings of the file `from_config`, empty if `name` is None; add all texts in it to `secrets`."""
    from nablafx_core.yaml import YamlError, plain_yaml

    if name is None:
        return {}
    path = Path(name).expanduser()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{where}.from_config: {path} cannot be read: {error.strerror}.") from None
    try:
        found = plain_yaml(content, str(path), "a file of settings")
    except YamlError as error:
        raise ConfigError(f"{where}.from_config: {error.place}: expected plain YAML or JSON.") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{where}.from_config: {path}: expected a mapping of settings.")
    secrets |= all_texts(found)
    return found


def _resolved(name: str, settings: Mapping[str, Any], where: str, secrets: set[str]) -> dict[str, Any]:
    """Return the settings with variables replaced, in the types that the observer expects; add values to `secrets`."""
    known = settings_of(component_class(Registry.discover().find("observer", name)))
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found[key] = expanded(value, f"{where}.{key}", secrets)
        if key in known:  # build reports unknown keys
            found[key] = _typed(known[key], found[key], f"{where}.{key}", names_variable(value))
    return found


def _typed(setting: Setting, value: Any, where: str, of_variable: bool) -> Any:
    """Convert a value to the setting's type; the text of a variable may be a number or a boolean."""
    if value is None and setting.default is None:
        return None
    try:
        return checked_value(setting, value)
    except SettingsError:
        try:
            if of_variable and isinstance(value, str):
                return checked_value(setting, json.loads(value))
        except ValueError:
            pass
    raise ConfigError(f"{where}: expected {setting.type_text}.")  # the value may be a secret
