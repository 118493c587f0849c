"""Join processors and controllers into one model; each name is imported when it is first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nablafx_core.graybox.description import ParameterValue as ParameterValue
    from nablafx_core.graybox.description import describe as describe
    from nablafx_core.graybox.gray_box import GrayBox as GrayBox
    from nablafx_core.graybox.stage import Stage as Stage
    from nablafx_core.graybox.topology import Mix as Mix
    from nablafx_core.graybox.topology import Parallel as Parallel
    from nablafx_core.graybox.topology import Sidechain as Sidechain

_LAZY = {
    "GrayBox": "gray_box",
    "Stage": "stage",
    "Parallel": "topology",
    "Sidechain": "topology",
    "Mix": "topology",
    "describe": "description",
    "ParameterValue": "description",
}

__all__ = [*_LAZY]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"nablafx_core.graybox.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'nablafx_core.graybox' has no attribute '{name}'")
