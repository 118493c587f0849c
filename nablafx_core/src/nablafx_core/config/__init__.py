"""Read an experiment file: layers of YAML that are merged, and checked against the components that they name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nablafx_core.config.experiment import Experiment as Experiment
    from nablafx_core.config.experiment import load_experiment as load_experiment

__all__ = ["Experiment", "load_experiment"]


def __getattr__(name: str) -> Any:
    if name in __all__:  # deferred: it imports torch, which other modules of this folder do not need
        from nablafx_core.config import experiment

        return getattr(experiment, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
