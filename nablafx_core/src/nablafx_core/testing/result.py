"""What a law gave: it holds, is broken, has a remark, or could not be checked."""

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
    """A law that cannot be checked here; the message says why, and what would make it possible."""


class Remark(Exception):
    """A law that holds, with something that the author should know.

    Args:
        text: what.
        measured: the number that the law gave.
    """

    def __init__(self, text: str, measured: float) -> None:
        super().__init__(text)
        self.measured = measured


@dataclass(frozen=True)
class Result:
    """One law on one component.

    Args:
        kind, component, law: what was checked.
        outcome: whether it holds; an exception is a broken law that the component declares, with its reason.
        measured: the number that the law gave, such as an error or a latency.
        failure: why it is broken and what to do; None if it is not.
        note: the remark, the reason of an exception, or why it was not checked.
        seconds: how long it took.
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
    """Run one check; whatever it raises becomes the result.

    Args:
        kind, component, law: what is checked.
        check: gives a number; nothing, or infinity, where there is nothing to measure.
        package: whose code is checked; an exception from it is shown with its line there.
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
    """Return the result of a law from which a component declares an exception.

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
        failure=f"it holds, although the Component declares an exception: {reason!r}. Remove it from `exceptions`.",
    )


def _raised(error: BaseException, package: str) -> str:
    if isinstance(error, NablafxError):  # it says what to do itself
        where = raised_at(error, package)
        return f"{error} ({where})" if where else str(error)
    return f"{cause(error, package)}. It was given what its interface allows, and must not raise."
