"""Compile kernels, and cache their machine code on disk."""

from __future__ import annotations

import hashlib
import logging
import pickle
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

from nablafx_core.causes import cause
from nablafx_core.hints import Once

_log = logging.getLogger(__name__)
_once = Once()

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

_FORMAT = 1  # version of the data files
_VECTORS = hashlib.sha256(Path(__file__).with_name("simd.py").read_bytes()).hexdigest()


class _Cache(FunctionCache):
    """Cache of a kernel's machine code by numba, which is ignored if it is damaged or cannot be written."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]
        locator = self._impl.locator
        stamp = locator.get_source_stamp()
        self._cache_file = _CacheFile(self._cache_path, self._impl.filename_base, stamp)  # type: ignore[no-untyped-call]

    def _index_key(self, signature: Any, codegen: Any) -> tuple[Any, ...]:
        """Extend numba's key by a hash of `simd`, which is compiled into kernels, and by the format of the files."""
        return (*super()._index_key(signature, codegen), _VECTORS, _FORMAT)  # type: ignore[no-untyped-call]

    def load_overload(self, signature: Any, context: Any) -> Any:
        """Return the machine code for a signature; None if numba must compile it. Warn if the cache is damaged."""
        try:
            return super().load_overload(signature, context)  # type: ignore[no-untyped-call]
        except Exception as error:  # the exception depends on the damage
            _warn_once(f"{self._cache_path}: compiled code cannot be read ({cause(error)}) and is compiled again.")
            return None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Store machine code for a signature; warn if the cache cannot be written."""
        try:
            super().save_overload(signature, result)  # type: ignore[no-untyped-call]
        except Exception as error:
            _warn_once(
                f"{self._cache_path}: compiled code cannot be written ({cause(error)}), so each process compiles it "
                "again. Set NUMBA_CACHE_DIR to a writable folder."
            )


class _CacheFile(IndexDataCacheFile):
    """Cache files of one kernel: an index, and a data file for each signature.

    numba's own cache does not notice a changed byte in machine code, an index that names a data file which was never
    written, or two processes that chose the same name for the code of two signatures. A data file therefore begins with
    its hash, contains its key, and is written before the index.
    """

    def save(self, key: Any, data: Any) -> None:
        """Write the data of a key, then the index."""
        overloads = self._load_index()
        used = set(overloads.values())
        free = (name for name in map(self._data_name, count(1)) if name not in used)
        name = overloads.get(key) or next(free)
        content: bytes = self._dump((key, data))  # type: ignore[no-untyped-call]
        with self._open_for_write(self._data_path(name)) as file:  # type: ignore[no-untyped-call]
            file.write(hashlib.sha256(content).digest() + content)
        self._save_index({**overloads, key: name})  # type: ignore[no-untyped-call]

    def load(self, key: Any) -> Any:
        """Return the data of a key, or None if the cache does not have it.

        Raises:
            Exception: if the data file is damaged; its class depends on the damage.
        """
        name = self._load_index().get(key)
        if name is None:
            return None
        try:
            with open(self._data_path(name), "rb") as file:  # type: ignore[no-untyped-call]
                digest, content = file.read(32), file.read()
        except FileNotFoundError:
            return None
        if hashlib.sha256(content).digest() != digest:
            raise ValueError(f"{name} is damaged")
        saved, data = pickle.loads(content)
        return data if saved == key else None

    def _load_index(self) -> dict[Any, str]:
        """Return the names of the data files by key; empty if the index is missing or, with a warning, damaged."""
        try:
            found = super()._load_index()  # type: ignore[no-untyped-call]
        except Exception as error:  # the exception depends on the damage
            _warn_once(f"{self._index_path}: compiled code cannot be read ({cause(error)}) and is compiled again.")
            return {}
        return found if isinstance(found, dict) else {}


def _warn_once(text: str) -> None:
    """Warn once per process, because the files of all kernels usually have the same problem."""
    if _once.first():
        _log.warning("%s", text)


def compiled(function: Kernel) -> Kernel:
    """Compile a function at its first call, and cache the machine code on disk if a folder is writable.

    numba looks for a cache beside the source, in ``NUMBA_CACHE_DIR`` and in the user's cache folder, and raises an
    error if it can write to none of them; the code is then compiled once per process. Functions that a kernel calls
    must be in its own file or in `simd`, because changes elsewhere are not detected. Cache files that cannot be read or
    written cause one warning and have no other effect.

    Fused multiply-add is allowed, but operations are not reordered: a result never depends on how a signal is cut.
    Division by zero gives infinity or NaN, as in numpy. The interpreter's lock is released while a kernel runs.
    """
    options: dict[str, Any] = {"error_model": "numpy", "fastmath": {"contract"}, "nogil": True}
    try:
        kernel = numba.njit(cache=True, **options)(function)
    except (RuntimeError, OSError):
        return cast(Kernel, numba.njit(**options)(function))
    kernel._cache = _Cache(function)
    return cast(Kernel, kernel)


def inlined(function: Kernel) -> Kernel:
    """Make a function that is inlined into each kernel that calls it, because a call would cost more than its body."""
    return cast(Kernel, numba.njit(inline="always")(function))
