"""Describe an exception in one line, with the line of a package that raised it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from nablafx_core.pack_code import PackFailure


def cause(error: BaseException, package: str = "") -> str:
    """Format an exception as ``ValueError: message (nablafx_acme/ladder.py:31)``, with the first line of its message.

    Args:
        error: exception; a `PackFailure` stands for the exception that it contains.
        package: top-level package. The place, its innermost line, is added only if the exception passed through it.
    """
    if isinstance(error, PackFailure):
        error = error.original
    text = str(error).strip().splitlines()
    said = f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
    where = raised_at(error, package) if package else ""
    return f"{said} ({where})" if where else said


def raised_at(error: BaseException, package: str) -> str:
    """Return the innermost line of a package that an exception passed through, such as ``nablafx_acme/ladder.py:31``.

    The result is empty if it passed through none. If the exception was raised while another one was handled, that one
    counts only if the exception itself did not pass through the package.
    """
    seen: BaseException | None = error
    while seen is not None:
        lines = [line for line in _lines(seen.__traceback__) if line[0].partition(".")[0] == package]
        if lines:
            _, file, number = lines[-1]
            parts = Path(file).parts
            within = parts[len(parts) - 1 - parts[::-1].index(package) :] if package in parts else parts[-1:]
            return f"{'/'.join(within)}:{number}"
        seen = seen.__cause__ or seen.__context__
    return ""


def _lines(trace: TracebackType | None) -> Iterator[tuple[str, str, int]]:
    """Yield module, file and line of each call that an exception left, the innermost last."""
    while trace is not None:
        frame = trace.tb_frame
        module = str(frame.f_globals.get("__name__", ""))
        if not module.startswith("nablafx_core.testing"):  # the laws that check core are not the cause
            yield module, frame.f_code.co_filename, trace.tb_lineno
        trace = trace.tb_next
