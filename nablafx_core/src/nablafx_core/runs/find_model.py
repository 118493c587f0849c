"""Find the trained model that a user names: a bundle, a run, or a pack's trained model."""

from __future__ import annotations

from pathlib import Path

from nablafx_core.bundles.loading import BUNDLE_IN_RUN, bundle_path
from nablafx_core.errors import RunError
from nablafx_core.runs.records import find_run, list_runs


def find_model(name: str, runs_dir: Path) -> str | Path:
    """Return the path or name of a trained model in a form that `nablafx_core.bundles.loading.load` accepts.

    Args:
        name: path of a bundle or of a run's folder, or ``pack/name`` for a model of a pack; or a run's id, its first
            characters with or without the date, or ``"latest"`` for the newest run that has a model. An existing file
            or folder with this name comes first.
        runs_dir: folder of the run folders.

    Returns:
        A path and ``pack/name`` unchanged; for a run, the path of its folder. `load` reports if it contains no model.

    Raises:
        RunError: if no run matches, or several; if no run has a model (``"latest"``); or if `name` is a folder without
            a bundle.
    """
    if "/" in name or bundle_path(name) is not None:
        return name
    if name == "latest":
        trained = [run for run in list_runs(runs_dir) if (run.folder / BUNDLE_IN_RUN).is_file()]
        if not trained:
            raise RunError(f"no run in {runs_dir} has a model yet. `nablafx runs` lists them.")
        return trained[0].folder
    return find_run(runs_dir, name).folder
