"""The laws, run on everything that a pack registers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from nablafx_core.kinds import KINDS
from nablafx_core.packs import Pack
from nablafx_core.registry import Entry, Registry
from nablafx_core.testing import laws_hooks
from nablafx_core.testing.case import Case, working_in
from nablafx_core.testing.result import Result, result_of
from nablafx_core.testing.subject import LawBroken
from nablafx_core.testing.table import LAWS

CALLBACKS = "nablafx_callbacks"


def pack_results(name: str) -> Iterator[Result]:
    """Check a pack law by law, each result as it comes.

    Args:
        name: of the pack, with or without the prefix ``nablafx-``.

    Raises:
        RegistryError: if the pack is not installed.
    """
    registry = Registry.discover()
    pack = registry.pack_named(name)
    registry.collect_all()
    for problem in pack.problems:
        yield Result("pack", pack.name, "provides what it says", "broken", failure=problem)
    for warning in pack.warnings:
        yield Result("pack", pack.name, "provides what it says", "warning", note=warning)
    for entry in entries_of(pack):
        yield from component_results(entry)
    if pack.implements(CALLBACKS):
        yield result_of("hook", CALLBACKS, "gives callbacks", lambda: laws_hooks.callbacks_are_callbacks(pack))


def entries_of(pack: Pack) -> list[Entry]:
    """Everything that a pack registers, kind by kind."""
    registry = Registry.discover()
    return [entry for kind in KINDS for entry in registry.entries(kind) if entry.pack is pack]


def component_results(entry: Entry) -> Iterator[Result]:
    """Check one component law by law; what would only fail for the same reason again is left out."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        case = Case(entry, Path(folder))
        for law in LAWS[entry.kind.name]:
            with working_in(case.folder):
                check = partial(law.check, case)
                result = result_of(entry.kind.name, entry.component.name, law.name, check, entry.package)
            yield result
            if law.first and result.outcome in ("broken", "not checked"):
                return


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
