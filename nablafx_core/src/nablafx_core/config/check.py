"""Checks sections of an experiment against the signatures of the components that they name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Annotated, Any, get_args, get_origin

from nablafx_core.building import component_class
from nablafx_core.config.layers import Layer, Path, dotted
from nablafx_core.errors import ConfigError, RegistryError
from nablafx_core.kinds import KINDS
from nablafx_core.registry import Registry
from nablafx_core.settings import (
    BESIDE,
    REQUIRED,
    STRUCTURES,
    Section,
    Setting,
    SettingsError,
    checked_value,
    plain_default,
    settings_of,
    unknown_setting,
)
from nablafx_core.tracking.secrets import literal_secrets, names_variable

#: Filled from the data unless the experiment says otherwise, so never filled with a default here.
FROM_DATA: dict[str, frozenset[str]] = {"model": frozenset({"sample_rate", "controls"})}


class Checker:
    """Checks the sections of one layer; every error says where the value was written."""

    def __init__(self, layer: Layer, registry: Registry) -> None:
        self._layer = layer
        self._registry = registry

    def section(self, kind: str, value: Any, path: Path, beside: Mapping[str, Setting] | None = None) -> dict[str, Any]:
        """One section ``{name: …, setting: …}`` (or just a name), checked, with every default filled in.

        Args:
            kind: of the component; ``"mix"`` for a section without one.
            value: what was written.
            path: where it stands.
            beside: settings of the framework's that stand in the same section.
        """
        if kind not in KINDS:
            return self.plain({setting.name: setting for setting in BESIDE[kind]}, value, path)
        if isinstance(value, str):
            value = {"name": value}
        for key, settings in STRUCTURES.get(kind, {}).items():
            if isinstance(value, dict) and key in value and "name" not in value:
                return self._settings(f"'{key}'", {setting.name: setting for setting in settings}, value, path)
        if not isinstance(value, dict) or not isinstance(value.get("name"), str):
            self._fail(path, f"a {kind} section needs a name, such as {{name: …}}.")
        try:
            entry = self._registry.find(kind, value["name"])
            target = component_class(entry)
        except RegistryError as error:
            self._fail((*path, "name"), str(error))
        known = {
            **(beside or {}),
            **{setting.name: setting for setting in BESIDE.get(kind, ())},
            **settings_of(target, without=KINDS[kind].injected),
        }
        own = {key: item for key, item in value.items() if key != "name"}
        unfilled: Collection[str] = FROM_DATA.get(kind, ())
        if kind == "observer":
            known, unfilled = self._observer(known, own, path)
        checked = self._settings(getattr(target, "__name__", value["name"]), known, own, path, unfilled)
        for inside, message in getattr(target, "setting_problems", lambda settings: ())(checked):
            self._fail((*path, *inside), message)
        return {"name": value["name"], **checked}

    def _observer(
        self, known: Mapping[str, Setting], own: Mapping[str, Any], path: Path
    ) -> tuple[dict[str, Setting], Collection[str]]:
        """The settings of an observer, and those that are not filled here since a file may have them.

        What an environment variable holds is checked when the observer is built.
        """
        for inside, message in literal_secrets(own):
            self._fail((*path, *inside), message)
        later = {key for key, item in own.items() if names_variable(item)}
        found = {
            name: replace(setting, annotation=Any) if name in later else setting for name, setting in known.items()
        }
        return found, known if own.get("from_config") else ()

    def sections(self, kind: str, value: Any, path: Path) -> list[dict[str, Any]]:
        """A list of sections."""
        if not isinstance(value, list) or not value:
            self._fail(path, f"a list of at least one {kind}.")
        return [self.section(kind, item, (*path, index)) for index, item in enumerate(value)]

    def plain(self, known: Mapping[str, Setting], value: Any, path: Path) -> dict[str, Any]:
        """A section of the framework's own settings."""
        if value is not None and not isinstance(value, dict):
            self._fail(path, f"a mapping of settings, not {value!r:.40}.")
        return self._settings(f"'{dotted(path)}'", known, value or {}, path)

    def _settings(
        self, owner: str, known: Mapping[str, Setting], value: dict[str, Any], path: Path, unfilled: Any = ()
    ) -> dict[str, Any]:
        for key in value:
            if key not in known:
                self._fail((*path, key), unknown_setting(owner, key, known))
        checked = {}
        for name, setting in known.items():
            if name in value:
                checked[name] = self._value(setting, setting.annotation, value[name], (*path, name))
            elif setting.default is REQUIRED:
                if name not in unfilled:
                    self._fail(path, f"{owner} needs the setting '{name}' ({setting.type_text}). {setting.doc}".strip())
            elif name not in unfilled and plain_default(setting) is not REQUIRED:
                checked[name] = plain_default(setting)
        return checked

    def _value(self, setting: Setting, annotation: Any, value: Any, path: Path) -> Any:
        if value is None and setting.default is None:
            return None
        origin, arguments = get_origin(annotation), get_args(annotation)
        if origin is Annotated:
            marks = [mark for mark in arguments[1:] if isinstance(mark, Section)]
            if marks:
                return self.section(marks[0].kind, value, path)
        elif _holds_section(annotation) and isinstance(value, list):
            return [self._value(setting, arguments[0], item, (*path, i)) for i, item in enumerate(value)]
        try:
            return checked_value(setting, value)
        except SettingsError as error:
            self._fail(path, str(error))

    def _fail(self, path: Path, message: str) -> Any:
        where = self._layer.where(path)
        raise ConfigError(f"{where + ': ' if where else ''}{dotted(path)}: {message}")


def _holds_section(annotation: Any) -> bool:
    return any(
        isinstance(argument, Section) or _holds_section(argument)
        for argument in get_args(annotation)
        if argument is not ...
    )
