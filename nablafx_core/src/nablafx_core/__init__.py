"""NablAFx: differentiable black-box and gray-box modelling of audio effects, built from plugin packs.

The names that a notebook needs are here; each is imported at its first use::

    import nablafx_core as nfx

    result = nfx.train({"data": {"name": "pair", "dry": "di.wav", "wet": "amp.wav"}, "model": {"preset": "tcn-45-s"}})
    model = nfx.load(result.bundle)
    audio, state = model(torch.zeros(1, 1, 48000))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nablafx_core import _moved
from nablafx_core.errors import NablafxError
from nablafx_core.registry.component import Component

if TYPE_CHECKING:
    from nablafx_core.bundles.bundle import save_bundle as save_bundle
    from nablafx_core.bundles.conversion import export_model as export_model
    from nablafx_core.bundles.conversion import import_model as import_model
    from nablafx_core.bundles.loading import load as load
    from nablafx_core.config import Experiment as Experiment
    from nablafx_core.config import load_experiment as load_experiment
    from nablafx_core.controls import Control as Control
    from nablafx_core.controls import Parameter as Parameter
    from nablafx_core.evaluation.evaluate import evaluate as evaluate
    from nablafx_core.interfaces import AudioSource as AudioSource
    from nablafx_core.interfaces import Controller as Controller
    from nablafx_core.interfaces import Dataset as Dataset
    from nablafx_core.interfaces import Device as Device
    from nablafx_core.interfaces import Embedding as Embedding
    from nablafx_core.interfaces import Exporter as Exporter
    from nablafx_core.interfaces import Importer as Importer
    from nablafx_core.interfaces import Loss as Loss
    from nablafx_core.interfaces import Metric as Metric
    from nablafx_core.interfaces import Model as Model
    from nablafx_core.interfaces import Processor as Processor
    from nablafx_core.interfaces import Recording as Recording
    from nablafx_core.interfaces import RunObserver as RunObserver
    from nablafx_core.interfaces import Start as Start
    from nablafx_core.marks import Named as Named
    from nablafx_core.marks import Range as Range
    from nablafx_core.marks import Section as Section
    from nablafx_core.playing.streaming import Streamer as Streamer
    from nablafx_core.registry import Registry as Registry
    from nablafx_core.registry.building import build as build
    from nablafx_core.registry.hookspecs import hookimpl as hookimpl
    from nablafx_core.runs.find_model import find_model as find_model
    from nablafx_core.runs.recorder import record as record
    from nablafx_core.state import State as State
    from nablafx_core.steps import Steps as Steps
    from nablafx_core.training.fit import train as train
    from nablafx_core.training.prepared import data_module as data_module
    from nablafx_core.training.prepared import prepared_data as prepared_data
    from nablafx_core.training.prepared import prepared_model as prepared_model

_LAZY = {
    "Control": "nablafx_core.controls",
    "Parameter": "nablafx_core.controls",
    "State": "nablafx_core.state",
    "Steps": "nablafx_core.steps",
    "Named": "nablafx_core.marks",
    "Range": "nablafx_core.marks",
    "Section": "nablafx_core.marks",
    "AudioSource": "nablafx_core.interfaces",
    "Controller": "nablafx_core.interfaces",
    "Dataset": "nablafx_core.interfaces",
    "Device": "nablafx_core.interfaces",
    "Embedding": "nablafx_core.interfaces",
    "Exporter": "nablafx_core.interfaces",
    "Importer": "nablafx_core.interfaces",
    "Loss": "nablafx_core.interfaces",
    "Metric": "nablafx_core.interfaces",
    "Model": "nablafx_core.interfaces",
    "Processor": "nablafx_core.interfaces",
    "Recording": "nablafx_core.interfaces",
    "RunObserver": "nablafx_core.interfaces",
    "Start": "nablafx_core.interfaces",
    "hookimpl": "nablafx_core.registry.hookspecs",
    "Registry": "nablafx_core.registry",
    "build": "nablafx_core.registry.building",
    "Experiment": "nablafx_core.config",
    "load_experiment": "nablafx_core.config",
    "load": "nablafx_core.bundles.loading",
    "save_bundle": "nablafx_core.bundles.bundle",
    "import_model": "nablafx_core.bundles.conversion",
    "export_model": "nablafx_core.bundles.conversion",
    "Streamer": "nablafx_core.playing.streaming",
    "find_model": "nablafx_core.runs.find_model",
    "record": "nablafx_core.runs.recorder",
    "evaluate": "nablafx_core.evaluation.evaluate",
    "train": "nablafx_core.training.fit",
    "prepared_data": "nablafx_core.training.prepared",
    "prepared_model": "nablafx_core.training.prepared",
    "data_module": "nablafx_core.training.prepared",
}

__all__ = ["Component", "NablafxError", *_LAZY]

_moved.install()


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'nablafx_core' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__} - {"Any", "TYPE_CHECKING", "annotations", "importlib"})
