"""Whether a layer runs compiled or as torch's own operations."""

from __future__ import annotations

import torch
from torch import Tensor

from nablafx_core.kernels import enabled


def compiled_for(*tensors: Tensor) -> bool:
    """Whether compiled kernels take these: float32 on the CPU, unless `enabled` says otherwise.

    Torch's operations stay where something wants to see them: a trace, a compiler, autocast.

    Raises:
        ModelError: as `enabled` does.
    """
    if not enabled() or any(t.device.type != "cpu" or t.dtype != torch.float32 for t in tensors):
        return False
    return not (torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling())
