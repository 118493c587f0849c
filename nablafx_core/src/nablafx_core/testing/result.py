"""Results of laws: a law holds, holds with a remark, is broken, is a declared exception, or could not be checked."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from nablafx_core.causes import cause, raised_at
from nablafx_core.errors import NablafxError
from nablafx_core.pack_code import pack_code
from nablafx_core.testing.subject import LawBroken
from nablafx_core.threads import torch_threads

Outcome = Literal["holds", "broken", "warning", "exception", "not checked"]


class NotChecked(Exception):
    """Raised if a law cannot be checked; the message says why, and what would make it possible."""


class Remark(Exception):
    """Raised if a law holds, but the author should know something.

    Args:
        text: text of the remark.
        measured: value that the law measured.
    """

    def __init__(self, text: str, measured: float) -> None:
        super().__init__(text)
        self.measured = measured


@dataclass(frozen=True)
class Result:
    """Result of one law for one component.

    Args:
        kind: kind of the component.
        component: name of the component.
        law: name of the law.
        outcome: result of the check; ``"exception"`` is a broken law that the component declares, with its reason.
        measured: value that the law measured, such as an error or a latency; None without a finite value.
        failure: why the law is broken and what to do; None unless the outcome is ``"broken"``.
        note: remark, reason and failure of an exception, or reason why it was not checked; None for other outcomes.
        seconds: duration of the check in seconds.
    """

    kind: str
    component: str
    law: str
    outcome: Outcome
    measured: float | None = None
    failure: str | None = None
    note: str | None = None
    seconds: float = 0.0


def result_of(kind: str, component: str, law: str, check: Callable[[], Any], package: str = "") -> Result:
    """Run one check with torch's seed at 0 and one torch thread, and return its result; only a Ctrl-C is raised.

    Args:
        kind: kind of the component.
        component: name of the component.
        law: name of the law.
        check: function that returns a number, or None or infinity if there is nothing to measure. If it raises
            `NotChecked`, the law could not be checked; if it raises `Remark`, the law holds with a remark; any other
            exception means that the law is broken.
        package: top-level package of the component's code; the failure names the line of it that raised. Empty for
            none.
    """
    began = time.perf_counter()
    outcome: Outcome = "holds"
    measured, failure, note = None, None, None
    torch.manual_seed(0)
    try:
        with torch_threads(1), pack_code():  # one thread is faster for so little work
            answer = check()
        measured = float(answer) if isinstance(answer, (int, float)) and math.isfinite(answer) else None
    except NotChecked as reason:
        outcome, note = "not checked", str(reason)
    except Remark as remark:
        outcome, note, measured = "warning", str(remark), float(remark.measured)
    except LawBroken as broken:
        outcome, failure = "broken", str(broken)
    except Exception as error:
        outcome, failure = "broken", _raised(error, package)
    return Result(kind, component, law, outcome, measured, failure, note, time.perf_counter() - began)


def excepted(result: Result, reason: str) -> Result:
    """Return the result of a law that a component declares as an exception.

    A broken law becomes ``"exception"``. A law that holds, with or without a remark, becomes ``"broken"``, because the
    declaration is obsolete. A law that could not be checked stays as it is.

    Args:
        result: result of the check.
        reason: reason that the component gives.
    """
    if result.outcome == "broken":
        return replace(result, outcome="exception", failure=None, note=f"{reason}\n{result.failure}")
    if result.outcome == "not checked":
        return result
    return replace(
        result,
        outcome="broken",
        failure=f"the law holds, but the Component declares an exception: {reason!r}. Remove it from `exceptions`.",
    )


def _raised(error: BaseException, package: str) -> str:
    if isinstance(error, NablafxError):  # its message says what to do
        where = raised_at(error, package)
        return f"{error} ({where})" if where else str(error)
    return f"{cause(error, package)}. The arguments were valid for its interface, so it must not raise."
