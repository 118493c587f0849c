"""Loading a trained model by whatever names it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from importlib.resources import as_file
from pathlib import Path

from nablafx_core.bundles.bundle import load_bundle
from nablafx_core.errors import BundleError, RegistryError, RunError
from nablafx_core.interfaces import Model
from nablafx_core.registry import Registry
from nablafx_core.registry.import_paths import code_of_run, code_of_stranger, trusting

BUNDLE_IN_RUN = "model.nfx"


def bundle_path(source: str | Path) -> Path | None:
    """The bundle file that `source` means, if it is a bundle file or a run folder.

    Raises:
        RunError: if it is a folder without a bundle.
    """
    path = Path(source)
    if os.path.isdir(path):  # unlike Path's, it takes any text for a path
        bundle = path / BUNDLE_IN_RUN
        if not os.path.isfile(bundle):
            why = f"no {BUNDLE_IN_RUN} in this folder. Has the run been trained to its first validation?"
            raise RunError(f"{bundle}: it is no file." if os.path.lexists(bundle) else f"{path}: {why}")
        return bundle
    return path if path.suffix == ".nfx" or os.path.isfile(path) else None


def load(source: str | Path, trust: str | Path | Sequence[str | Path] = ()) -> Model:
    """Load a trained model, in eval mode, on the CPU.

    Args:
        source: a bundle (``"ts9.nfx"``), a run's folder (``"runs/ID"``) or a bundle that a pack provides
            (``"acme/ts9"``).
        trust: Python files, such as ``"mymodel.py"``, or installed modules, whose code the model may run though they
            are in no pack.

    Raises:
        BundleError, RunError, RegistryError: if there is no such thing or it cannot be loaded.
    """
    with trusting(trust):
        return _load(source)


def _load(source: str | Path) -> Model:
    path = bundle_path(source)
    if path is not None:
        of_run = path.name == BUNDLE_IN_RUN and (path.parent / "run.json").is_file()
        return load_bundle(path, code_of_run(path.parent) if of_run else None)
    try:
        entry = Registry.discover().find("bundle", str(source))
    except RegistryError as error:
        raise BundleError(f"'{source}' is no file, no run folder and no bundle of a pack.\n{error}") from error
    with as_file(entry.resource()) as file:
        expected = entry.component.sha256
        if expected and hashlib.sha256(file.read_bytes()).hexdigest() != expected:
            raise BundleError(
                f"{entry.qualified_name}: the file is not the one that the pack declares (its hash differs)."
            )
        return load_bundle(file, code_of_stranger(entry.qualified_name))
