"""Measure what a model costs: parameters, operations, time and memory."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nablafx_core.profiling.card import CostCard as CostCard
    from nablafx_core.profiling.card import cost_card as cost_card
    from nablafx_core.profiling.macs import count_macs as count_macs

# Imported lazily to avoid a cycle: layers import `profiling.macs`, and the card imports modules that import layers.
_LAZY = {"CostCard": "card", "cost_card": "card", "count_macs": "macs"}

__all__ = list(_LAZY)


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
