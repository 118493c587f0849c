"""Contracts between the framework and packs: one base class per kind of component.

Shapes, unless a method states others: audio is (batch, channels, time), full scale ±1. Controls are
(batch, num_controls) or, as automation, (batch, num_controls, time), in [0, 1].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nablafx_core.interfaces.controller import Controller
from nablafx_core.interfaces.dataset import AudioSource, Dataset, Part, Recording
from nablafx_core.interfaces.device import Device
from nablafx_core.interfaces.embedding import Embedding
from nablafx_core.interfaces.exporter import Exporter
from nablafx_core.interfaces.importer import Importer
from nablafx_core.interfaces.loss import Loss
from nablafx_core.interfaces.metric import Metric
from nablafx_core.interfaces.model import Model
from nablafx_core.interfaces.position import Start
from nablafx_core.interfaces.processor import Processor

if TYPE_CHECKING:
    from nablafx_core.interfaces.observer import RunObserver

__all__ = [
    "AudioSource",
    "Controller",
    "Dataset",
    "Device",
    "Embedding",
    "Exporter",
    "Importer",
    "Loss",
    "Metric",
    "Model",
    "Part",
    "Processor",
    "Recording",
    "RunObserver",
    "Start",
]


def __getattr__(name: str) -> Any:
    if name == "RunObserver":  # deferred: it imports Sacred, which models do not need
        from nablafx_core.interfaces.observer import RunObserver

        return RunObserver
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
