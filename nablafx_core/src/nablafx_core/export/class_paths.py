"""Model descriptions of projects that configure classes by their import paths (LightningCLI, jsonargparse)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from nablafx_core.config.layers import read_file
from nablafx_core.errors import ConversionError


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
