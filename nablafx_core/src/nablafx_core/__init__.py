"""NablAFx: differentiable black-box and gray-box modelling of audio effects, built from plugin packs.

What a notebook needs, each imported when it is first used::

    import nablafx_core as nfx

    result = nfx.train({"data": {"name": "pair", "dry": "di.wav", "wet": "amp.wav"}, "model": {"preset": "tcn-45-s"}})
    model = nfx.load(result.bundle)
    audio, state = model(torch.zeros(1, 1, 48000))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nablafx_core.component import Component
from nablafx_core.errors import NablafxError

if TYPE_CHECKING:
    from nablafx_core.building import build as build
    from nablafx_core.config import Experiment as Experiment
    from nablafx_core.config import load_experiment as load_experiment
    from nablafx_core.evaluation.evaluate import evaluate as evaluate
    from nablafx_core.export.bundle import save_bundle as save_bundle
    from nablafx_core.export.conversion import export_model as export_model
    from nablafx_core.export.conversion import import_model as import_model
    from nablafx_core.hookspecs import hookimpl as hookimpl
    from nablafx_core.loading import load as load
    from nablafx_core.registry import Registry as Registry
    from nablafx_core.streaming import Streamer as Streamer
    from nablafx_core.training.fit import data_module as data_module
    from nablafx_core.training.fit import prepared_data as prepared_data
    from nablafx_core.training.fit import prepared_model as prepared_model
    from nablafx_core.training.fit import train as train

_LAZY = {
    "hookimpl": "nablafx_core.hookspecs",
    "Registry": "nablafx_core.registry",
    "build": "nablafx_core.building",
    "load": "nablafx_core.loading",
    "Experiment": "nablafx_core.config",
    "load_experiment": "nablafx_core.config",
    "train": "nablafx_core.training.fit",
    "prepared_data": "nablafx_core.training.fit",
    "prepared_model": "nablafx_core.training.fit",
    "data_module": "nablafx_core.training.fit",
    "evaluate": "nablafx_core.evaluation.evaluate",
    "save_bundle": "nablafx_core.export.bundle",
    "Streamer": "nablafx_core.streaming",
    "import_model": "nablafx_core.export.conversion",
    "export_model": "nablafx_core.export.conversion",
}

__all__ = ["Component", "NablafxError", *_LAZY]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'nablafx_core' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__} - {"Any", "TYPE_CHECKING", "annotations", "importlib"})
