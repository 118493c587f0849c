"""Check sections of an experiment against the signatures of the components that they name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, NoReturn

from nablafx_core.config.layers import Layer, OptionMark
from nablafx_core.config.secrets import literal_secrets, names_variable
from nablafx_core.errors import ConfigError, RegistryError
from nablafx_core.hints import unknown_setting
from nablafx_core.interfaces.declared import ChecksSettings
from nablafx_core.marks import Mark, Section
from nablafx_core.registry import Entry
from nablafx_core.registry.building import component_class, component_settings
from nablafx_core.registry.kinds import KINDS
from nablafx_core.registry.qualified import Names, OwnFirst, qualified_value
from nablafx_core.registry.settings import (
    REQUIRED,
    Setting,
    SettingsError,
    beside,
    checked_value,
    is_marked,
    plain_default,
    settings_of,
    structures,
    with_marked,
)
from nablafx_core.yaml import Path, dotted

#: Largest number of components in the sections of a layer, and of keys and indices in the path of a component.
_MAX_COMPONENTS, _MAX_PATH_LENGTH = 256, 24


class Checker:
    """Check of the sections of one layer; every error names the place where the value was written.

    The value of an option is YAML, with an exception: if the setting expects text, such as a path, and the value is not
    in quotes, the text of the option is the value, whatever it is in YAML.

    Args:
        layer: values of the layer, with their places.
        names: finder of components by name.
        injected: True if sections may contain arguments that the framework passes, as those of a bundle may.
    """

    def __init__(self, layer: Layer, names: Names, injected: bool = False) -> None:
        self._layer = layer
        self._names = names
        self._injected = injected
        self._components = 0

    def section(
        self,
        kind: str,
        value: Any,
        path: Path,
        given: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Check one section ``{name: …, setting: …}`` (or just a name); fill in every default and the name's pack.

        Args:
            kind: kind of the component; ``"mix"`` for a section without a component.
            value: section as it was written.
            path: path of the section.
            given: values for settings that were not written; values that the component does not accept are ignored.

        Raises:
            ConfigError: if a name or a setting is unknown or invalid.
        """
        if kind not in KINDS:
            return self.plain({setting.name: setting for setting in beside(kind)}, value, path)
        if isinstance(value, str):
            value = {"name": value}
        for key, settings in structures(kind).items():
            if isinstance(value, dict) and key in value and "name" not in value:
                return self._settings(f"'{key}'", {setting.name: setting for setting in settings}, value, path)
        entry, target, own_settings = self._component(kind, value, path)
        known = {**{one.name: one for one in beside(kind)}, **own_settings}
        own = {key: item for key, item in (given or {}).items() if key in known}
        own |= {key: item for key, item in value.items() if key != "name"}
        known |= {
            key: self._with_packs_in_default(entry, one, path) for key, one in own_settings.items() if key not in own
        }
        unfilled: Collection[str] = KINDS[kind].from_data
        if self._injected:
            filled = {name: one for name, one in settings_of(target).items() if name in KINDS[kind].injected}
            known, unfilled = {**known, **filled}, {*unfilled, *filled}
        if kind == "observer":
            known, unfilled = self._observer(known, own, path)
        checked = self._settings(str(getattr(target, "__name__", value["name"])), known, own, path, unfilled)
        if isinstance(target, type) and issubclass(target, ChecksSettings):
            for inside, message in target.setting_problems(checked):
                self._fail((*path, *inside), message)
        return {"name": entry.qualified_name, **checked}

    def _component(self, kind: str, value: Any, path: Path) -> tuple[Entry, Any, dict[str, Setting]]:
        """Find the component that a section names; return its entry, its class and the settings of the class.

        Raises:
            ConfigError: if the section has no name, there is no such component, or the layer has too many components,
                or too deeply nested ones.
        """
        self._components += 1
        if self._components > _MAX_COMPONENTS or len(path) > _MAX_PATH_LENGTH:
            self._fail(path, f"more than {_MAX_COMPONENTS} components, or components nested too deeply. Use fewer.")
        if not isinstance(value, dict) or not isinstance(value.get("name"), str):
            self._fail(path, f"{'an' if kind[0] in 'aeiou' else 'a'} {kind} section needs a name, such as {{name: …}}.")
        try:
            entry = self._names.find(kind, value["name"])
            return entry, component_class(entry), component_settings(entry)
        except RegistryError as error:
            self._fail((*path, "name"), str(error))

    def _observer(
        self, known: Mapping[str, Setting], own: Mapping[str, Any], path: Path
    ) -> tuple[dict[str, Setting], Collection[str]]:
        """Check an observer's section for written secrets; return its settings, and those that get no default.

        A value that names an environment variable is not checked here, but when the observer is built. With
        `from_config`, no setting gets its default, because the user's config file may contain the setting.

        Raises:
            ConfigError: if a secret, such as a password, is written in the section.
        """
        for inside, message in literal_secrets(own):
            self._fail((*path, *inside), message)
        later = {key for key, item in own.items() if names_variable(item)}
        found = {
            name: replace(setting, annotation=Any) if name in later else setting for name, setting in known.items()
        }
        return found, known if own.get("from_config") else ()

    def sections(self, kind: str, value: Any, path: Path) -> list[dict[str, Any]]:
        """Check a list of sections; see `section`."""
        if not isinstance(value, list) or not value:
            self._fail(path, f"expected a list of at least one {kind}.")
        return [self.section(kind, item, (*path, index)) for index, item in enumerate(value)]

    def plain(self, known: Mapping[str, Setting], value: Any, path: Path) -> dict[str, Any]:
        """Check a section of the framework's own settings; see `section`."""
        if value is not None and not isinstance(value, dict):
            self._fail(path, f"expected a mapping of settings, got {value!r:.40}.")
        return self._settings(f"'{dotted(path)}'", known, value or {}, path)

    def _settings(
        self,
        owner: str,
        known: Mapping[str, Setting],
        value: dict[str, Any],
        path: Path,
        unfilled: Collection[str] = (),
    ) -> dict[str, Any]:
        for key in value:
            if key not in known:
                self._fail((*path, key), unknown_setting(owner, key, known))
        checked = {}
        for name, setting in known.items():
            if name in value:
                checked[name] = self._value(setting, value[name], (*path, name))
            elif name in unfilled:
                continue
            elif setting.default is REQUIRED:
                self._fail(path, f"{owner} needs the setting '{name}' ({setting.type_text}). {setting.doc}".strip())
            elif (default := plain_default(setting)) is not REQUIRED:
                marked = is_marked(setting.annotation)  # sections inside the value get their defaults too
                checked[name] = self._value(setting, default, (*path, name)) if marked else default
        return checked

    def _with_packs_in_default(self, entry: Entry, setting: Setting, path: Path) -> Setting:
        """Add packs to the names in a setting's default; a name without a pack means the pack that has the default."""
        default = plain_default(setting)
        if default is REQUIRED or not is_marked(setting.annotation):
            return setting
        try:
            return replace(setting, default=qualified_value(setting, default, OwnFirst(entry.pack, self._names)))
        except RegistryError as error:
            self._fail((*path, setting.name), str(error))

    def _value(self, setting: Setting, value: Any, path: Path) -> Any:
        if value is None and setting.default is None:
            return None

        def leaf(annotation: Any, part: Any, place: Path) -> Any:
            kept = replace(setting, annotation=annotation)
            first, *others = self._possible_values(part, place)
            try:
                return checked_value(kept, first)
            except SettingsError as error:
                for other in others:
                    with suppress(SettingsError):
                        return checked_value(kept, other)
                self._fail(place, str(error))

        return with_marked(setting.annotation, value, path, self._marked, leaf)

    def _possible_values(self, value: Any, path: Path) -> list[Any]:
        """Return the values that may be meant, the likeliest first; several only for a value that an option has set.

        For an option these are its text and the text read as YAML; the text is first if YAML reads it as text too.
        """
        mark, written = self._layer.marks.get(path), self._layer.as_written(value, path)
        if written == value or written == "":
            return [value]
        is_text = isinstance(value, str) and isinstance(mark, OptionMark) and not mark.is_quoted
        return [written, value] if is_text else [value, written]

    def _marked(self, mark: Mark, value: Any, path: Path) -> Any:
        """Check a setting of a marked type: a section inside it, or the name of a component, which gets its pack."""
        if isinstance(mark, Section):
            return self.section(mark.kind, value, path)
        if not isinstance(value, str):
            self._fail(path, f"expected the name of a {mark.kind}, got {value!r:.60}.")
        try:
            return self._names.find(mark.kind, value).qualified_name
        except RegistryError as error:
            self._fail(path, str(error))

    def _fail(self, path: Path, message: str) -> NoReturn:
        where = self._layer.where(path)
        problem = f"\n  {where.problem}" if isinstance(where, OptionMark) and where.problem else ""
        raise ConfigError(f"{where + ': ' if where else ''}{dotted(path)}: {message}{problem}")
