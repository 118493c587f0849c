"""Whether a layer runs compiled or as torch's own operations."""

from __future__ import annotations

import os

import torch
from torch import Tensor, nn

from nablafx_core.errors import ModelError

#: Environment variable: ``torch`` turns compiled layers off, ``auto`` or nothing leaves the choice to each layer.
VARIABLE = "NABLAFX_KERNELS"


def compiled_for(*tensors: Tensor, dtypes: tuple[torch.dtype, ...] = (torch.float32,)) -> bool:
    """Whether a compiled kernel takes these: on the CPU, unless ``NABLAFX_KERNELS=torch`` turns all of them off.

    Torch's operations stay where something wants to see them: a trace, a compiler, autocast, a transform such as
    `torch.func.vmap`, a mode such as the counter of operations, or a tensor of another class.

    Args:
        tensors: all that the kernel would read.
        dtypes: that it is written for.

    Raises:
        ModelError: if the variable has no known value.
    """
    chosen = os.environ.get(VARIABLE) or "auto"
    if chosen not in ("auto", "torch"):
        raise ModelError(f"the environment variable {VARIABLE} is '{chosen}'. Values: auto, torch.")
    return chosen == "auto" and not _seen() and all(_plain(t) and t.dtype in dtypes for t in tensors)


def _plain(tensor: Tensor) -> bool:
    return type(tensor) in (Tensor, nn.Parameter) and tensor.device.type == "cpu"


def traced() -> bool:
    """Whether torch's operations are being recorded, by a trace, an export or a compiler."""
    return torch.jit.is_tracing() or torch.compiler.is_compiling()  # type: ignore[attr-defined, no-untyped-call]


def _seen() -> bool:
    """Whether anything records or changes the operations that follow."""
    return (
        torch.is_autocast_enabled("cpu")
        or traced()
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack() > 0
    )
