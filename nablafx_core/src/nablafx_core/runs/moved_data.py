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
_PLACES = ("path", "folder", "file", "dry", "wet")
_ANEW = ("track.observers", "track.sample_seconds")


def check_overrides(overrides: Iterable[str]) -> None:
    """Check that ``--set`` of a resume changes only the path of the data, or the observers.

    Raises:
        ConfigError: for any other setting.
    """
    for override in overrides:
        key = override.partition("=")[0]
        section, _, name = key.partition(".")
        moved = section == "data" and name not in ("", "name", *LoadingSettings.model_fields)
        if not moved and not any(key == known or key.startswith(f"{known}.") for known in _ANEW):
            raise ConfigError(
                f"--set {key}: --resume continues a run as it is. It takes where the data is now, such as data.path, "
                f"and {' and '.join(_ANEW)}."
            )


def keep_fingerprint(run: Run, dataset: Dataset) -> None:
    """Record the fingerprint of a run's data in its folder, unless it is there; warn if it cannot be written."""
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
        moved: whether the settings of the data differ from the run's, in which case the check must be possible.
        otherwise: advice if the data differs, the end of the message.

    Raises:
        DataError: if a file differs; names it.
        RunError: if the run did not record its data although the check is required.
    """
    try:
        before = read_json(str(folder / NAME))
    except (OSError, ValueError, RecursionError) as error:
        if moved:
            raise RunError(
                f"the run {folder.name} has no usable {NAME}, so this data cannot be compared with its own "
                f"({getattr(error, 'strerror', None) or error}). Put the data where it was; a symbolic link will do."
            ) from error
        return
    problem = difference(before, dataset)
    if problem is not None:
        raise DataError(f"this is not the data of the run {folder.name}: {problem}. {otherwise}")


def is_moved(experiment: Experiment, recorded: Mapping[str, Any]) -> bool:
    """Return True if the data section of an experiment differs from a run's."""
    return bool(experiment.config["data"] != recorded.get("data"))


@contextmanager
def moved_explained(words: Iterable[str], section: Mapping[str, Any], runs_dir: str | Path) -> Iterator[None]:
    """Add to the error of a path that does not exist the command that sets a new one.

    Args:
        words: words of the command, such as ``train --resume ID``.
        section: section `data` of the experiment.
        runs_dir: folder of the runs.

    Raises:
        DataError: if a path does not exist; ends with the command.
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
    """Return the settings whose paths do not exist."""
    own = {key: value for key, value in section.items() if key not in ("name", *LoadingSettings.model_fields)}
    paths = {key: value for key, value in own.items() if isinstance(value, str) and not os.path.exists(value)}
    found = [key for key, value in paths.items() if key in _PLACES or os.path.isabs(value)]
    return ["path"] if "path" in found else found
