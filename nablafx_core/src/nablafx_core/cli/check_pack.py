"""Output of ``nablafx packs check``: each law as it is measured, then details of all laws that do not hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

import click

from nablafx_core.commands import answer
from nablafx_core.registry import Registry
from nablafx_core.testing.check_pack import CALLBACKS, chosen_components, pack_results
from nablafx_core.testing.result import Result
from nablafx_core.testing.table import LAWS


def checked(name: str, as_json: bool, only: Sequence[str] = ()) -> bool:
    """Check a pack, and print the results.

    Args:
        name: name of the pack.
        as_json: True to print JSON.
        only: patterns of the components to check; empty for all.

    Returns:
        True if no law is broken.
    """
    if as_json:
        results = list(pack_results(name, only))
        answer([asdict(result) for result in results])
    else:
        results = _printed(name, only)
        _print_rest(results)
    return not any(result.failure for result in results)


def _printed(name: str, only: Sequence[str]) -> list[Result]:
    components = chosen_components(Registry.discover().pack_named(name), only)
    widths = (
        max(map(len, [f"hook {CALLBACKS}", *components])),
        max(len(law.name) for laws in LAWS.values() for law in laws),
    )
    results: list[Result] = []
    _print_row(widths, "COMPONENT", "LAW", "RESULT", "MEASURED", "TIME")
    for result in pack_results(name, only):
        if results and results[-1].kind != result.kind:
            click.echo()
        component, seconds = f"{result.kind} {result.component}", f"{result.seconds:.2f} s"
        _print_row(widths, component, result.law, result.outcome, _number(result.measured), seconds)
        results.append(result)
    return results


def _print_row(widths: tuple[int, int], component: str, law: str, outcome: str, measured: str, seconds: str) -> None:
    click.echo(f"{component:<{widths[0]}}  {law:<{widths[1]}}  {outcome:<11}  {measured:>8}  {seconds:>7}".rstrip())


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if value.is_integer() and abs(value) < 1e8 else f"{value:.3g}"


def _print_rest(results: Sequence[Result]) -> None:
    for outcome in ("not checked", "warning", "exception", "broken"):
        for result in results:
            if result.outcome == outcome:
                text = (result.failure or result.note or "").replace("\n", "\n  ")
                click.echo(f"\n{outcome}: {result.kind} {result.component}: {result.law}\n  {text}")
    counts = Counter(result.outcome for result in results)
    others = [f"{counts[one]} {one}" for one in ("broken", "exception", "warning", "not checked") if counts[one]]
    click.echo("\n" + ", ".join([f"{counts['holds']} of {len(results)} laws hold", *others]) + ".")
