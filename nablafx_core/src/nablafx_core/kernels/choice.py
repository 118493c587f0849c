"""Choose between a compiled kernel and torch's operations."""

from __future__ import annotations

import os

import torch
from torch import Tensor, nn

from nablafx_core.errors import ModelError

#: Environment variable: ``torch`` disables compiled kernels; with ``auto`` or no value, each layer chooses.
VARIABLE = "NABLAFX_KERNELS"


def compiled_for(*tensors: Tensor, dtypes: tuple[torch.dtype, ...] = (torch.float32,)) -> bool:
    """True if a compiled kernel can process tensors: on the CPU, unless ``NABLAFX_KERNELS=torch`` disables all kernels.

    Torch's operations are used if something must observe them: a trace, a compiler, autocast, a transform such as
    `torch.func.vmap`, a mode such as the counter of operations, or a tensor of a subclass.

    Args:
        tensors: all tensors that the kernel would read.
        dtypes: dtypes that the kernel supports.

    Raises:
        ModelError: if the value of the variable is unknown.
    """
    chosen = os.environ.get(VARIABLE) or "auto"
    if chosen not in ("auto", "torch"):
        raise ModelError(f"the environment variable {VARIABLE} is '{chosen}'. Values: auto, torch.")
    return chosen == "auto" and not _observed() and all(_plain(t) and t.dtype in dtypes for t in tensors)


def _plain(tensor: Tensor) -> bool:
    return type(tensor) in (Tensor, nn.Parameter) and tensor.device.type == "cpu"


def traced() -> bool:
    """True if torch's operations are being recorded, by a trace, an export or a compiler."""
    return torch.jit.is_tracing() or torch.compiler.is_compiling()  # type: ignore[attr-defined, no-untyped-call]


def _observed() -> bool:
    """True if a mode of torch records or changes the operations that follow."""
    return (
        torch.is_autocast_enabled("cpu")
        or traced()
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack() > 0
    )
