"""Choose between a compiled kernel and torch's operations."""

from __future__ import annotations

import os

import torch
from torch import Tensor, nn

from nablafx_core.errors import ModelError

#: Environment variable: ``torch`` disables compiled kernels; with ``auto`` or no value, each layer chooses.
VARIABLE = "NABLAFX_KERNELS"


def compiled_for(*tensors: Tensor, dtypes: tuple[torch.dtype, ...] = (torch.float32,)) -> bool:
    """True if a compiled kernel can process tensors: on the CPU, of a supported dtype and of no subclass of Tensor.

    False if the environment variable is ``NABLAFX_KERNELS=torch``, or if something must observe torch's operations: a
    trace, a compiler, autocast, a transform such as `torch.func.vmap`, or a mode such as the counter of operations.

    Args:
        tensors: all tensors that the kernel would read.
        dtypes: dtypes that the kernel supports.

    Raises:
        ModelError: if ``NABLAFX_KERNELS`` is neither ``auto``, ``torch`` nor empty.
    """
    chosen = os.environ.get(VARIABLE) or "auto"
    if chosen not in ("auto", "torch"):
        raise ModelError(f"the environment variable {VARIABLE} is '{chosen}'. Set it to auto or torch, or unset it.")
    return chosen == "auto" and not _observed() and all(_plain(t) and t.dtype in dtypes for t in tensors)


def _plain(tensor: Tensor) -> bool:
    return type(tensor) in (Tensor, nn.Parameter) and tensor.device.type == "cpu"


def traced() -> bool:
    """True if torch's operations are being recorded, by a trace, an export or a compiler."""
    return torch.jit.is_tracing() or torch.compiler.is_compiling()  # type: ignore[attr-defined, no-untyped-call]


def _observed() -> bool:
    """True if a trace, a compiler, autocast, a transform or a mode of torch records or changes the next operations."""
    return (
        torch.is_autocast_enabled("cpu")
        or traced()
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack() > 0
    )
