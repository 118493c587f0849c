"""Load a trained model from a bundle, a run folder or a pack."""

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

#: Name of the bundle in a run folder.
BUNDLE_IN_RUN = "model.nfx"


def bundle_path(source: str | Path) -> Path | None:
    """Return the path of the bundle if `source` is a file, a run folder or ends in ``.nfx``; nothing is read.

    Returns:
        None if `source` can only be a name, such as that of a pack's bundle or a run's id.

    Raises:
        RunError: if `source` is a folder without a bundle.
    """
    path = Path(source)
    if os.path.isdir(path):  # unlike Path's own, it accepts any text
        bundle = path / BUNDLE_IN_RUN
        if not os.path.isfile(bundle):
            why = f"this folder has no {BUNDLE_IN_RUN}. A run has one after its first validation."
            raise RunError(f"{bundle}: is not a file." if os.path.lexists(bundle) else f"{path}: {why}")
        return bundle
    return path if path.suffix == ".nfx" or os.path.isfile(path) else None


def load(source: str | Path, trust: str | Path | Sequence[str | Path] = ()) -> Model:
    """Load a trained model, in eval mode, on the CPU.

    Args:
        source: path of a bundle (``"ts9.nfx"``) or of a run folder (``"runs/ID"``), or name of a bundle in a pack
            (``"acme/ts9"``).
        trust: Python files, such as ``"mymodel.py"``, or installed modules, that are not in a pack but whose code the
            model may run. A run that this user trained on this machine may run its own code without it.

    Raises:
        BundleError: if there is no such bundle, or it cannot be loaded; see `load_bundle`.
        RunError: if the folder has no bundle.
        RegistryError: if the file of a pack's bundle is missing, or `trust` names something else than a Python file or
            a module.
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
        raise BundleError(f"'{source}' is not a file, a run folder or a bundle of a pack.\n{error}") from error
    with as_file(entry.resource()) as file:
        expected = entry.component.sha256
        if expected and hashlib.sha256(file.read_bytes()).hexdigest() != expected:
            raise BundleError(
                f"{entry.qualified_name}: the file's hash differs from the one in its pack. Install the pack again."
            )
        return load_bundle(file, code_of_stranger(entry.qualified_name))
