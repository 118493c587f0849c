"""Model descriptions of projects that configure classes by their import paths (LightningCLI, jsonargparse)."""

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
        setting: name of the corresponding setting here; None if the argument changes nothing here.
        default: default in that project, for descriptions that omit it.
    """

    setting: str | None
    default: Any


def settings_from(given: Mapping[str, Any], known: Mapping[str, Argument], where: str) -> dict[str, Any]:
    """Translate the arguments of a class into settings, with that project's defaults for missing arguments.

    Args:
        given: arguments in the description.
        known: every argument that can be imported.
        where: description of the class and its place, for messages; such as ``"model.yaml: NablAFx's TCN"``.

    Raises:
        ConversionError: if an argument is not among `known`.
    """
    for argument in given:
        if argument not in known:
            raise ConversionError(f"{where} has no argument '{argument}' that can be imported.")
    return {
        argument.setting: given.get(name, argument.default)
        for name, argument in known.items()
        if argument.setting is not None
    }


def described(config: Path, package: str, classes: Collection[str]) -> tuple[str, dict[str, Any]]:
    """The one class of a package that a YAML file describes, somewhere in it, and its arguments.

    A description is a mapping with ``class_path``, such as ``package.models.TCN``, and ``init_args``. Nothing is
    imported.

    Args:
        config: the file.
        package: that the class belongs to.
        classes: names of those that are looked for.

    Returns:
        The name and the arguments.

    Raises:
        ConversionError: if none or several are described; names the classes that are there.
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
            f"{config}: {len(found) or 'no'} models that can be imported: {', '.join(sorted(classes))} of {package}. "
            f"Classes there: {there}."
        )
    return found[0]


def named_controls(count: int, names: Sequence[str] | None, heard: bool, where: str) -> list[dict[str, Any]]:
    """The knobs of a model whose description has only their number.

    Args:
        count: of the knobs.
        names: for them; control_1, control_2, … if None.
        heard: whether anything in the model follows them; otherwise it has none, and a warning says so.
        where: they were found, for messages.

    Raises:
        ConversionError: if there are not as many names as knobs.
    """
    if count and not heard:
        _log.warning("%s: the model does not hear its %d controls; the bundle has none.", where, count)
        return []
    names = names or [f"control_{number}" for number in range(1, count + 1)]
    if len(names) != count:
        raise ConversionError(f"{where}: the model has {count} controls; {len(names)} names were given.")
    return [{"name": name} for name in names]
