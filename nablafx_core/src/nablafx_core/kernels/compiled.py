"""How a kernel is compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def compiled(function: Kernel) -> Kernel:
    """Compile a function at its first call and keep the machine code on disk where a folder can be written.

    numba looks for a cache beside the source, in ``NUMBA_CACHE_DIR`` and in the user's cache folder, and refuses
    to decorate at all where it may write to none of them; there the code is compiled once per process.

    Fused multiply-add is allowed, nothing else is reordered: a result never depends on how a signal is cut.
    """
    options: dict[str, Any] = {"error_model": "numpy", "fastmath": {"contract"}, "nogil": True}
    try:
        kernel = numba.njit(cache=True, **options)(function)
    except RuntimeError:
        kernel = numba.njit(**options)(function)
    return cast(Kernel, kernel)
