"""Build the object that a section of an experiment describes."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from typing import Any

from nablafx_core.causes import cause
from nablafx_core.errors import ConfigError, NablafxError, RegistryError
from nablafx_core.hints import unknown_setting
from nablafx_core.pack_code import pack_code
from nablafx_core.registry import Entry, Registry
from nablafx_core.registry.kinds import Kind
from nablafx_core.registry.packs import import_target
from nablafx_core.registry.settings import Setting, SettingsError, beside, checked_value, reserved_keys, settings_of


def build(kind: str, section: str | Mapping[str, Any], **injected: Any) -> Any:
    """Build a component from its section: a name, and settings of the class with that name.

    A model gets the attribute `section`: the name, the settings and the injected arguments, as a bundle stores them.

    Args:
        kind: kind of the component, such as ``"model"``.
        section: mapping such as ``{"name": "tcn", "num_blocks": 5}``, or just the name. Keys of the framework (a loss's
            weight, a processor's controller) are not passed to the class.
        injected: arguments that the framework passes, see `nablafx_core.registry.kinds`. Arguments that the class does
            not accept are dropped; so are arguments that an experiment may set, if the section sets them.

    Returns:
        Instance of the class.

    Raises:
        RegistryError: if the name is unknown or in several packs, its code cannot be imported or has another kind, or
            one of its settings has the name of a key of the framework.
        ConfigError: if the section has no name, a setting is unknown or missing, or the class rejects the settings.
        NablafxError, OSError, MemoryError: if the class raises one; it is passed on unchanged.
    """
    settings = {"name": section} if isinstance(section, str) else dict(section)
    if "name" not in settings:
        raise ConfigError(f"A {kind} section needs a name; it has {settings!r:.80}")
    entry = Registry.discover().find(kind, str(settings.pop("name")))
    target = component_class(entry)
    framework = {setting.name for setting in beside(kind)}
    own = {key: value for key, value in settings.items() if key not in framework}
    injected = {key: value for key, value in injected.items() if key not in own or key in entry.kind.injected}
    accepted = settings_of(target)
    arguments = {**own, **{key: value for key, value in injected.items() if key in accepted}}
    if kind == "model" and "controls" in arguments:
        arguments["controls"] = _controls(entry.qualified_name, arguments["controls"])
    known = {**accepted, **component_settings(entry)}
    for key in own:
        if key not in known:
            raise ConfigError(unknown_setting(f"{kind} '{entry.qualified_name}'", key, known))
    try:
        inspect.signature(target).bind(**arguments)
    except TypeError as error:
        raise ConfigError(f"{kind} '{entry.qualified_name}': {error}.") from None
    try:
        with pack_code():
            built = target(**arguments)
    except (NablafxError, OSError, MemoryError):  # the cause of an OSError is the disk, not the settings
        raise
    except Exception as error:
        raise ConfigError(
            f"{kind} '{entry.qualified_name}' cannot be built from its settings: {cause(error)}. "
            "Run again with --traceback to see where."
        ) from error
    if kind == "model":
        from nablafx_core.registry.qualified import qualified  # deferred: it imports `component_class`

        section = {"name": entry.qualified_name, **own}
        built.section = {**qualified(kind, section, Registry.discover()), **_plain(injected)}
    return built


def component_class(entry: Entry) -> Any:
    """Import the target of an entry; for a kind with `adapted`, return the adapted class.

    The kind of a pack's component is not checked. A file may contain any import path, so the target of one is never
    called before its kind is checked.

    Raises:
        RegistryError: if the target cannot be imported; for an import path, also if the rules in force do not allow it,
            if it leads to the standard library, or if the target has another kind.
    """
    outside = entry.pack is None
    if outside and entry.package in sys.stdlib_module_names:
        raise _wrong_kind_error(entry, f" The module '{entry.package}' belongs to Python's standard library.")
    adapted: Any = (
        import_target(entry.kind.adapted) if entry.kind.adapted else None
    )  # first: it suppresses warnings of imports
    interface = interface_of(entry.kind) if outside else None  # first: an untrusted file may name what this loads
    target = entry.load()
    if interface is not None and not entry.kind.fits(target, interface):
        raise _wrong_kind_error(entry)
    return adapted(target) if adapted else target


def component_settings(entry: Entry) -> dict[str, Setting]:
    """Return the settings of a component by name: the constructor's arguments that an experiment may set.

    Raises:
        RegistryError: if `component_class` rejects the component, or if a setting has the name of a key of the
            framework.
    """
    known = settings_of(component_class(entry), without=entry.kind.injected)
    taken = [name for name in known if name in reserved_keys(entry.kind.name)]
    if taken:
        whose = f" of {entry.pack.name} {entry.pack.version}" if entry.pack else ""
        raise RegistryError(
            f"{entry.kind.name} '{entry.component.name}'{whose} has a setting '{taken[0]}', which is a key of the "
            f"framework in sections of that kind. Rename the argument in {entry.component.target}."
        )
    return known


def _wrong_kind_error(entry: Entry, hint: str = "") -> RegistryError:
    kind = entry.kind
    relation = "is not an instance of" if kind.instances else "does not derive from"
    wanted = kind.interface.replace(":", ".")
    article = "an" if kind.name[0] in "aeiou" else "a"
    return RegistryError(f"'{entry.qualified_name}' is not {article} {kind.name}: it {relation} {wanted}.{hint}")


def interface_of(kind: Kind) -> Any:
    """Import the base class of the components of a kind of code; for `instances`, the class of the objects."""
    return import_target(kind.interface)


def _controls(model: str, controls: Any) -> tuple[Any, ...]:
    from nablafx_core.controls import Control

    if isinstance(controls, (list, tuple)) and all(isinstance(control, Control) for control in controls):
        return tuple(controls)
    try:
        plain = checked_value(Setting("controls", tuple[Control, ...], ()), controls)
    except SettingsError as error:
        raise ConfigError(f"model '{model}': controls: {error}") from error
    return tuple(Control(**control) for control in plain)


def _plain(injected: dict[str, Any]) -> dict[str, Any]:
    """Return injected values as a bundle stores them: dataclasses as mappings, tuples as lists."""
    from dataclasses import asdict, is_dataclass

    def plain(value: Any) -> Any:
        if is_dataclass(value) and not isinstance(value, type):
            return {key: plain(item) for key, item in asdict(value).items()}
        return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value

    return {name: plain(value) for name, value in injected.items()}
