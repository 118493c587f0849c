"""How a kernel is compiled."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import FunctionCache

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

_VECTORS = hashlib.sha256(Path(__file__).with_name("simd.py").read_bytes()).hexdigest()


class _Cache(FunctionCache):
    """numba's cache, which compares a kernel's own file only, for kernels that `simd` is compiled into."""

    def _index_key(self, signature: Any, codegen: Any) -> tuple[Any, ...]:
        return (*super()._index_key(signature, codegen), _VECTORS)  # type: ignore[no-untyped-call]


def compiled(function: Kernel) -> Kernel:
    """Compile a function at its first call and keep the machine code on disk where a folder can be written.

    numba looks for a cache beside the source, in ``NUMBA_CACHE_DIR`` and in the user's cache folder, and refuses
    to decorate at all where it may write to none of them; there the code is compiled once per process. What a kernel
    calls must be in its own file or in `simd`, for a change elsewhere is not seen.

    Fused multiply-add is allowed, nothing else is reordered: a result never depends on how a signal is cut.
    """
    options: dict[str, Any] = {"error_model": "numpy", "fastmath": {"contract"}, "nogil": True}
    try:
        kernel = numba.njit(cache=True, **options)(function)
    except RuntimeError:
        return cast(Kernel, numba.njit(**options)(function))
    kernel._cache = _Cache(function)  # type: ignore[no-untyped-call]
    return cast(Kernel, kernel)


def inlined(function: Kernel) -> Kernel:
    """Make a function part of each kernel that calls it, where a call would cost more than what it does."""
    return cast(Kernel, numba.njit(inline="always")(function))
