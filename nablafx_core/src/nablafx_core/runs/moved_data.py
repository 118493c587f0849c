"""Moved data of a run: the settings that may change at a resume, and the check that the data is the same."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nablafx_core.config import Experiment
from nablafx_core.config.schema import LoadingSettings
from nablafx_core.data.fingerprint import NAME, difference, fingerprint
from nablafx_core.errors import ConfigError, DataError, RunError
from nablafx_core.files import read_json, replace_json
from nablafx_core.interfaces import Dataset
from nablafx_core.runs.run import Run
from nablafx_core.shell import command

_log = logging.getLogger(__name__)
_PATH_SETTINGS = ("path", "folder", "file", "dry", "wet")
_CHANGEABLE = ("track.observers", "track.sample_seconds")


def check_overrides(overrides: Iterable[str]) -> None:
    """Check that ``--set`` of a resume changes only the path of the data, or the observers.

    Raises:
        ConfigError: if it changes any other setting.
    """
    for override in overrides:
        key = override.partition("=")[0]
        section, _, name = key.partition(".")
        moved = section == "data" and name not in ("", "name", *LoadingSettings.model_fields)
        if not moved and not any(key == known or key.startswith(f"{known}.") for known in _CHANGEABLE):
            raise ConfigError(
                f"--set {key}: --resume continues a run as it is. It accepts only new paths of the data, such as "
                f"data.path, and {' and '.join(_CHANGEABLE)}."
            )


def keep_fingerprint(run: Run, dataset: Dataset) -> None:
    """Write the fingerprint of a run's data into its folder if it is not there; warn if it cannot be written."""
    path = run.folder / NAME
    found = None if path.exists() else fingerprint(dataset)
    if found is None:
        return
    try:
        replace_json(path, found)
    except OSError as error:
        _log.warning(
            "%s cannot be written (%s): if its data is moved, the run cannot be resumed.", path, error.strerror
        )
    else:
        run.artifact(path)


def check_same_data(folder: Path, dataset: Dataset, moved: bool, otherwise: str) -> None:
    """Check that a dataset contains the data that a run was trained on.

    Args:
        folder: folder of the run.
        dataset: dataset of the experiment as it is now.
        moved: true if the settings of the data differ from those of the run; the check is then required.
        otherwise: end of the message if the data differs: advice.

    Raises:
        DataError: if a file differs; the message names it.
        RunError: if the check is required, but the run has no usable fingerprint.
    """
    try:
        before = read_json(str(folder / NAME))
    except (OSError, ValueError, RecursionError) as error:
        if moved:
            raise RunError(
                f"the run {folder.name} has no usable {NAME}, so this data cannot be compared with its own "
                f"({getattr(error, 'strerror', None) or error}). Put the data where it was; a symbolic link is enough."
            ) from error
        return
    problem = difference(before, dataset)
    if problem is not None:
        raise DataError(f"this is not the data of the run {folder.name}: {problem}. {otherwise}")


def is_moved(experiment: Experiment, recorded: Mapping[str, Any]) -> bool:
    """Return true if the data section of an experiment differs from that of a run."""
    return bool(experiment.config["data"] != recorded.get("data"))


@contextmanager
def moved_explained(words: Iterable[str], section: Mapping[str, Any], runs_dir: str | Path) -> Iterator[None]:
    """Add to the error about a missing path the command that sets a new path.

    Args:
        words: words of the command, such as ``train --resume ID``.
        section: section `data` of the experiment.
        runs_dir: folder of the runs.

    Raises:
        DataError: if a path does not exist; the message ends with the command.
    """
    try:
        yield
    except DataError as error:
        missing = _missing(section)
        if not missing:
            raise
        new = [word for key in missing for word in ("--set", f"data.{key}=NEW")]
        raise DataError(f"{error}\nIf the data was moved: {command(*words, *new, runs_dir=runs_dir)}") from error


def _missing(section: Mapping[str, Any]) -> list[str]:
    """Return the names of settings whose paths do not exist."""
    own = {key: value for key, value in section.items() if key not in ("name", *LoadingSettings.model_fields)}
    paths = {key: value for key, value in own.items() if isinstance(value, str) and not os.path.exists(value)}
    found = [key for key, value in paths.items() if key in _PATH_SETTINGS or os.path.isabs(value)]
    return ["path"] if "path" in found else found
