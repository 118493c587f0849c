"""Whether a layer runs compiled or as torch's own operations."""

from __future__ import annotations

import os

import torch
from torch import Tensor

from nablafx_core.errors import ModelError

#: Environment variable: ``torch`` turns compiled layers off, ``auto`` or nothing leaves the choice to `compiled_for`.
VARIABLE = "NABLAFX_KERNELS"


def compiled_for(*tensors: Tensor) -> bool:
    """Whether compiled kernels take these: float32 on the CPU, unless `VARIABLE` says otherwise.

    Torch's operations stay where something wants to see them: a trace, a compiler, autocast.

    Raises:
        ModelError: if the variable has no known value.
    """
    chosen = os.environ.get(VARIABLE, "auto") or "auto"
    if chosen not in ("auto", "torch"):
        raise ModelError(f"the environment variable {VARIABLE} is '{chosen}'. Values: auto, torch.")
    if chosen == "torch" or any(t.device.type != "cpu" or t.dtype != torch.float32 for t in tensors):
        return False
    return not (torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling())
