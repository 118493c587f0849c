"""Find the trained model that a user names: a bundle, a run, or a pack's trained model."""

from __future__ import annotations

from pathlib import Path

from nablafx_core.bundles.loading import BUNDLE_IN_RUN, bundle_path
from nablafx_core.errors import RunError
from nablafx_core.runs.records import find_run, list_runs


def find_model(name: str, runs_dir: Path) -> str | Path:
    """Return the source of a trained model, for `load`.

    Args:
        name: path of a bundle or of a run's folder, ``pack/name``, a run's id or its first characters, or
            ``"latest"`` for the newest run that has a model.
        runs_dir: folder of the run folders.

    Raises:
        RunError: if there is no such run.
    """
    if "/" in name or bundle_path(name) is not None:
        return name
    if name == "latest":
        trained = [run for run in list_runs(runs_dir) if (run.folder / BUNDLE_IN_RUN).is_file()]
        if not trained:
            raise RunError(f"no run in {runs_dir} has a model yet. `nablafx runs` lists them.")
        return trained[0].folder
    return find_run(runs_dir, name).folder
