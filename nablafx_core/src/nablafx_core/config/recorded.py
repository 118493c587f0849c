"""Read the experiment that a run recorded, which may be damaged."""

from __future__ import annotations

from pathlib import Path

from nablafx_core.config.layers import Layer, read_file
from nablafx_core.errors import ConfigError
from nablafx_core.files import read_json


def is_record(file: Path) -> bool:
    """Return True if a file is the ``config.yaml`` of a run."""
    return file.name == "config.yaml" and (file.parent / "run.json").is_file()


def read_record(file: Path, sections: tuple[str, ...]) -> Layer:
    """Read the ``config.yaml`` of a run, which contains every section of an experiment.

    Args:
        file: path of the ``config.yaml``.
        sections: names of the sections of an experiment.

    Raises:
        ConfigError: if the file is cut off or damaged; the message says how to recover.
    """
    try:
        layer = read_file(file)
    except ConfigError as error:
        raise ConfigError(f"{error}\n{_advice(file, sections)}") from error
    missing = [f"'{key}'" for key in sections if key not in layer.value]
    if missing and set(layer.value) <= set(sections):  # a sweep's record has other sections
        what = f"it has no section {', '.join(missing)}" if layer.value else "it is empty"
        raise ConfigError(f"{file}: is cut off or damaged: {what}.\n{_advice(file, sections)}")
    return layer


def _advice(file: Path, sections: tuple[str, ...]) -> str:
    said = "It is the record of the run's experiment."
    try:
        other = read_json(str(file.with_name("config.json")))
    except (OSError, ValueError, RecursionError):
        other = None
    if isinstance(other, dict) and set(sections) <= set(other):
        return (
            f"{said} config.json beside it is complete: copy it to config.yaml, remove its key 'seed', and try again."
        )
    return f"{said} config.json beside it is missing or damaged as well. Start a new run from your experiment file."
