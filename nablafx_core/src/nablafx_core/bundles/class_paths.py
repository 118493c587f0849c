"""Read model descriptions of projects that configure classes by import paths (LightningCLI, jsonargparse)."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nablafx_core.config.layers import read_file
from nablafx_core.errors import ConversionError

_log = logging.getLogger(__name__)


class Argument(NamedTuple):
    """Argument of another project's class.

    Args:
        setting: name of the corresponding setting in NablAFx; None to accept the argument and ignore its value.
        default: default in the other project, for descriptions that omit the argument.
    """

    setting: str | None
    default: Any


def settings_from(given: Mapping[str, Any], known: Mapping[str, Argument], where: str) -> dict[str, Any]:
    """Return the settings, by name, that correspond to the arguments of a class of another project.

    Arguments that are missing in the description have the other project's defaults.

    Args:
        given: arguments in the description, by name.
        known: all arguments that can be imported, by name.
        where: place and name of the class, the start of a message, such as ``"model.yaml: NablAFx's TCN"``.

    Raises:
        ConversionError: if an argument is not among `known`.
    """
    for argument in given:
        if argument not in known:
            raise ConversionError(
                f"{where} has no argument '{argument}' that can be imported. Arguments: {', '.join(known) or 'none'}."
            )
    return {
        argument.setting: given.get(name, argument.default)
        for name, argument in known.items()
        if argument.setting is not None
    }


def described(config: Path, package: str, classes: Collection[str]) -> tuple[str, dict[str, Any]]:
    """Find the only description of a class of another project in a YAML file.

    A description is a mapping with ``class_path``, such as ``package.models.TCN``, and ``init_args``, at any depth,
    but not inside another description that was found. Nothing is imported.

    Args:
        config: path of the file.
        package: top-level package of the class.
        classes: names of the classes to search for, without modules.

    Returns:
        Name of the class, and its ``init_args``.

    Raises:
        ConfigError: if the file cannot be read, or is not a YAML mapping.
        ConversionError: if the file does not have exactly one such description; names the other classes in the file.
    """
    found: list[tuple[str, dict[str, Any]]] = []
    others: list[str] = []

    def search(value: Any) -> None:
        if isinstance(value, Mapping):
            path = str(value.get("class_path", ""))
            name = path.rpartition(".")[2]
            if name in classes and path.partition(".")[0] == package:
                found.append((name, dict(value.get("init_args") or {})))
                return
            others.extend([path] * bool(path))
        for item in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
            search(item)

    search(read_file(config).value)
    if len(found) != 1:
        there = ", ".join(others) or "none"
        raise ConversionError(
            f"{config}: describes {len(found)} models that can be imported; expected exactly one of "
            f"{', '.join(sorted(classes))} of {package}. Other classes in the file: {there}."
        )
    return found[0]


def named_controls(count: int, names: Sequence[str] | None, heard: bool, where: str) -> list[dict[str, Any]]:
    """Return sections ``{"name": …}`` for the knobs of a model whose description contains only their number.

    Args:
        count: number of knobs.
        names: names of the knobs; control_1, control_2, … if None or empty.
        heard: true if a part of the model uses the knobs. If false, and there are knobs, log a warning and return an
            empty list.
        where: place of the description, for messages.

    Raises:
        ConversionError: if names are given, and their number is not the number of knobs.
    """
    if count and not heard:
        _log.warning("%s: no part of the model uses its %d controls; the bundle has no controls.", where, count)
        return []
    names = names or [f"control_{number}" for number in range(1, count + 1)]
    if len(names) != count:
        raise ConversionError(
            f"{where}: the model has {count} controls, but {len(names)} names were given. Name all or none."
        )
    return [{"name": name} for name in names]
