"""Make modules importable under their former names, with a deprecation warning."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from nablafx_core.errors import NablafxDeprecationWarning

#: For each former module below ``nablafx_core``: the modules that contain its names now, and the version that removes
#: the former name.
MOVED: dict[str, tuple[tuple[str, ...], str]] = {
    "building": (("registry.building",), "0.3"),
    "cli.options": (("commands",), "0.3"),
    "component": (("registry.component",), "0.3"),
    "data.recording": (("interfaces.dataset",), "0.3"),
    "evaluation.metrics": (("scoring.metrics",), "0.3"),
    "export.bundle": (("bundles.bundle",), "0.3"),
    "export.conversion": (("bundles.conversion", "interfaces"), "0.3"),
    "hookspecs": (("registry.hookspecs",), "0.3"),
    "kernels.blocks": (("functional.block_maxima", "kernels.block_maxima"), "0.3"),
    "kernels.threads": (("kernels.pool",), "0.3"),
    "kernels.workspaces": (("kernels.workspace",), "0.3"),
    "loading": (("bundles.loading", "runs.find_model"), "0.3"),
    "nn.blocks": (("nn.block_recurrence", "steps"), "0.3"),
    "nn.recurrence": (("functional.lstm",), "0.3"),
    "position": (("interfaces.position",), "0.3"),
    "settings": (("registry.settings", "marks"), "0.3"),
    "streaming": (("playing.streaming",), "0.3"),
    "testing.packs": (("testing.check_pack",), "0.3"),
    "tracking.observer": (("interfaces.observer",), "0.3"),
    "tracking.recorder": (("runs.recorder",), "0.3"),
    "training.losses": (("scoring.losses",), "0.3"),
}
_PREFIX = "nablafx_core."
_FOLDERS = {name.partition(".")[0] for name in MOVED if "." in name}


class _Finder(MetaPathFinder, Loader):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        old = name.removeprefix(_PREFIX)
        if not name.startswith(_PREFIX) or (old not in MOVED and old not in _FOLDERS):
            return None
        return ModuleSpec(name, self, is_package=old in _FOLDERS)

    def exec_module(self, module: ModuleType) -> None:
        old = module.__name__.removeprefix(_PREFIX)
        if old not in MOVED:  # a folder that had no names of its own
            return
        new, removed = MOVED[old]
        places = " and ".join(_PREFIX + name for name in new)
        text = f"{module.__name__} is now {places}; nablafx-core {removed} removes the old name."
        warnings.warn(text, NablafxDeprecationWarning, stacklevel=2)

        def names() -> list[str]:
            modules = [importlib.import_module(_PREFIX + place) for place in new]
            return sorted({name for one in modules for name in dir(one) if not name.startswith("_")})

        def found(name: str) -> Any:
            if name == "__all__":  # for ``import *``
                return names()
            for place in new:
                try:
                    return getattr(importlib.import_module(_PREFIX + place), name)
                except AttributeError:
                    continue
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

        module.__getattr__ = found  # type: ignore[method-assign]
        module.__dir__ = names  # type: ignore[method-assign]


def install() -> None:
    """Install the finder of the former names; it is the last one, so other imports are not slower."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
