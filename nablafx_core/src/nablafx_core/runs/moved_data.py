"""Resume a run whose data was moved: the settings that may change, and the check that the data is the same."""

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
    """Check that each ``--set`` of a resume changes a setting that may change.

    These are the settings of the dataset itself, such as ``data.path``, but not its name and not those of loading
    (`LoadingSettings`); ``track.observers``; and ``track.sample_seconds``.

    Args:
        overrides: options such as ``"data.path=recordings"``.

    Raises:
        ConfigError: if one changes any other setting.
    """
    for override in overrides:
        key = override.partition("=")[0]
        section, _, name = key.partition(".")
        moved = section == "data" and name not in ("", "name", *LoadingSettings.model_fields)
        if not moved and not any(key == known or key.startswith(f"{known}.") for known in _CHANGEABLE):
            raise ConfigError(
                f"--set {key}: --resume continues a run as it is. It accepts only {', '.join(_CHANGEABLE)} and, if "
                "the data was moved, the dataset's own settings, such as data.path."
            )


def keep_fingerprint(run: Run, dataset: Dataset) -> None:
    """Write the fingerprint of a run's data into its folder, and record it as an artifact.

    Nothing happens if the folder has a fingerprint, or if the dataset reads no files. Failures to write are logged.

    Raises:
        DataError: if a file of the data cannot be read.
    """
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
        moved: true if the settings of the data differ from those of the run. If the run has no readable fingerprint,
            this is then an error; otherwise the check is skipped.
        otherwise: advice at the end of the message if the data differs.

    Raises:
        DataError: if files, their parts that are used, or knobs differ (the message says which), a file of the data
            cannot be read, or the content of the fingerprint is damaged.
        RunError: if `moved`, and the run has no readable fingerprint.
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
    """Return true if the section `data` of an experiment differs from that of a run's recorded experiment."""
    return bool(experiment.config["data"] != recorded.get("data"))


@contextmanager
def moved_explained(words: Iterable[str], section: Mapping[str, Any], runs_dir: str | Path) -> Iterator[None]:
    """Add to a DataError of the block the command that sets a new path, if a path in the experiment does not exist.

    Args:
        words: words of the command without ``nablafx``, such as ``train --resume ID``.
        section: section `data` of the experiment.
        runs_dir: folder of the runs.

    Raises:
        DataError: as the block raises it; the message ends with the command if a path does not exist.
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
    """Return the dataset's own settings that are missing paths; only ``path`` if it is one of them."""
    own = {key: value for key, value in section.items() if key not in ("name", *LoadingSettings.model_fields)}
    paths = {key: value for key, value in own.items() if isinstance(value, str) and not os.path.exists(value)}
    found = [key for key, value in paths.items() if key in _PATH_SETTINGS or os.path.isabs(value)]
    return ["path"] if "path" in found else found
