"""Find the model that a person names: a bundle, a run, or a pack's trained model."""

from __future__ import annotations

from pathlib import Path

from nablafx_core.bundles.loading import BUNDLE_IN_RUN, bundle_path
from nablafx_core.errors import RunError
from nablafx_core.runs.records import find_run, list_runs


def find_model(name: str, runs_dir: Path) -> str | Path:
    """What a person means by the name of a trained model, as `load` takes it.

    Args:
        name: a bundle, a run's folder, ``pack/name``, a run's id or the beginning of one, or ``"latest"``: the
            newest run that has a model.
        runs_dir: folder that holds the run folders.

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
