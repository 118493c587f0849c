"""The laws, run on everything that a pack registers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from nablafx_core.building import build
from nablafx_core.interfaces import Controller
from nablafx_core.registry import Entry, Registry
from nablafx_core.testing import laws, laws_gradients, laws_saving, laws_scores
from nablafx_core.testing.subject import LawBroken

CUTS = (1, 2, 61, 64, 128, 300, 3, 153)

Law = Callable[[Any], Any]

_STREAMED: dict[str, Law] = {
    "stream = offline, float64": lambda subject: laws.stream_equals_offline(subject, CUTS),
    "stream = offline, float32": lambda subject: laws.stream_equals_offline(subject, CUTS, dtype=torch.float32),
    "stream = offline, moving controls": lambda subject: laws.stream_equals_offline(
        subject, CUTS, moving_controls=True
    ),
    "items are independent": laws.items_are_independent,
    "silence gives no NaN": laws.silence_gives_no_nan,
    "no look-ahead but the latency": laws.no_look_ahead,
    "every control moves the output": laws_gradients.every_control_moves_output,
    "every parameter moves the output": laws_gradients.every_parameter_moves_output,
    "gradients are right": laws_gradients.gradients_are_right,
    "gradients are finite": laws_gradients.gradients_are_finite,
    "what it saves it loads": laws_saving.saves_what_it_loads,
}

LAWS: dict[str, dict[str, Law]] = {
    "model": _STREAMED,
    "processor": _STREAMED,
    "controller": _STREAMED,
    "loss": {
        "items are independent": laws_scores.loss_is_per_item,
        "zero at equality": laws_scores.loss_is_zero_at_equality,
        "silence gives no NaN": laws_scores.loss_survives_silence,
    },
    "metric": {
        "a split is the sum of its items": laws_scores.metric_is_a_sum,
        "silence gives no NaN": laws_scores.metric_survives_silence,
    },
}


@dataclass(frozen=True)
class Result:
    """One law on one component.

    Args:
        kind, component, law: what was checked.
        measured: the number that the law gave, such as an error or a latency.
        failure: why it is broken; None if it holds.
        seconds: how long it took.
    """

    kind: str
    component: str
    law: str
    measured: float | None
    failure: str | None
    seconds: float


def pack_results(name: str) -> Iterator[Result]:
    """Check a pack law by law.

    Args:
        name: of the pack, with or without the prefix ``nablafx-``.

    Raises:
        RegistryError: if the pack is not installed.
    """
    registry = Registry.discover()
    pack = registry.pack_named(name)
    registry.collect_all()
    for problem in pack.problems:
        yield Result("pack", pack.name, "provides what it says", None, problem, 0.0)
    for kind, checks in LAWS.items():
        for entry in registry.entries(kind):
            if entry.pack is pack:
                for law, check in checks.items():
                    yield _checked(entry, law, check)


def check_pack(name: str) -> list[Result]:
    """Check everything that a pack registers; one line of test for a pack's author.

    Args:
        name: of the pack, with or without the prefix ``nablafx-``.

    Returns:
        What was measured.

    Raises:
        LawBroken: listing every law that does not hold.
        RegistryError: if the pack is not installed.
    """
    results = list(pack_results(name))
    broken = [f"  {r.kind} {r.component}: {r.law}: {r.failure}" for r in results if r.failure]
    if broken:
        raise LawBroken("\n".join([f"{name} breaks {len(broken)} of {len(results)} laws:", *broken]))
    return results


def _checked(entry: Entry, law: str, check: Law) -> Result:
    began, measured, failure = time.perf_counter(), None, None
    torch.manual_seed(0)
    try:
        built = build(entry.kind.name, {"name": entry.qualified_name, **entry.component.example})
        drives_nothing = isinstance(built, Controller) and built.num_parameters == 0
        answer = 0.0 if drives_nothing else check(built)
        measured = float(answer) if isinstance(answer, (int, float)) else None
    except Exception as error:  # a component that cannot be built or run breaks the law as well
        failure = str(error) if isinstance(error, LawBroken) else f"{type(error).__name__}: {error}"
    return Result(entry.kind.name, entry.component.name, law, measured, failure, time.perf_counter() - began)
