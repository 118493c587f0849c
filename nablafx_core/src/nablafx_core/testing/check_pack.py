"""Check the laws for all components that a pack registers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from nablafx_core.errors import RegistryError
from nablafx_core.hints import did_you_mean
from nablafx_core.registry import Entry, Registry
from nablafx_core.registry.kinds import KINDS
from nablafx_core.registry.packs import Pack
from nablafx_core.testing import laws_hooks
from nablafx_core.testing.case import Case, working_in
from nablafx_core.testing.result import Result, excepted, result_of
from nablafx_core.testing.subject import LawBroken
from nablafx_core.testing.table import LAWS

CALLBACKS = "nablafx_callbacks"


def pack_results(name: str, only: str | Sequence[str] = ()) -> Iterator[Result]:
    """Check a pack law by law, and yield each result immediately.

    First come the problems and the warnings about the pack itself, whatever `only` selects; then its components by
    kind; then the hook ``nablafx_callbacks``, if the pack has it.

    Args:
        name: name of the pack, with or without the prefix ``nablafx-``.
        only: one or more patterns of the components to check, such as ``"exporter/*"``; all if empty. See `check_pack`.

    Raises:
        RegistryError: if the pack is not installed, or a pattern matches no component.
    """
    registry = Registry.discover()
    pack = registry.pack_named(name)
    registry.collect_all()
    chosen = chosen_components(pack, only)
    for problem in pack.problems:
        yield Result("pack", pack.name, "provides what it says", "broken", failure=problem)
    for warning in pack.warnings:
        yield Result("pack", pack.name, "provides what it says", "warning", note=warning)
    for entry in entries_of(pack):
        if _path(entry) in chosen:
            yield from component_results(entry)
    if f"hook/{CALLBACKS}" in chosen:
        yield result_of("hook", CALLBACKS, "gives callbacks", lambda: laws_hooks.callbacks_are_callbacks(pack))


def entries_of(pack: Pack) -> list[Entry]:
    """Return the entries of all components that a pack registers, ordered by kind."""
    registry = Registry.discover()
    return [entry for kind in KINDS for entry in registry.entries(kind) if entry.pack is pack]


def chosen_components(pack: Pack, only: str | Sequence[str]) -> list[str]:
    """Return the components of a pack to check, as ``KIND/NAME``: all, or those that match one of the patterns.

    The hook ``nablafx_callbacks``, if the pack has it, counts as the component ``hook/nablafx_callbacks``.

    Raises:
        RegistryError: if a pattern matches nothing.
    """
    paths = [_path(entry) for entry in entries_of(pack)]
    paths += [f"hook/{CALLBACKS}"] if pack.implements(CALLBACKS) else []
    patterns = [only] if isinstance(only, str) else list(only)
    for pattern in patterns:
        if not any(_matches(pattern, path) for path in paths):
            names = [*paths, *(path.partition("/")[2] for path in paths)]
            hint = did_you_mean(pattern, names, f" It has {', '.join(paths[:12]) or 'nothing'}.")
            raise RegistryError(f"{pack.name} has no component '{pattern}' to check.{hint}")
    return [path for path in paths if not patterns or any(_matches(pattern, path) for pattern in patterns)]


def _path(entry: Entry) -> str:
    return f"{entry.kind.name}/{entry.component.name}"


def _matches(pattern: str, path: str) -> bool:
    """Return true if a pattern matches a component, ``KIND/NAME``; a pattern without ``/`` is compared with NAME."""
    return fnmatchcase(path if "/" in pattern else path.partition("/")[2], pattern)


def component_results(entry: Entry) -> Iterator[Result]:
    """Check one component law by law; if a law marked `first` does not hold or cannot be checked, stop after it.

    A name in `exceptions` that is no law of the component's kind is yielded first, as a broken law.
    """
    kind, name, exceptions = entry.kind.name, entry.component.name, entry.component.exceptions
    laws = LAWS[kind]
    for unknown in [law for law in exceptions if law not in {one.name for one in laws}]:
        names = [law.name for law in laws]
        hint = did_you_mean(unknown, names, f" Laws: {', '.join(names)}.")
        yield Result(
            kind, name, unknown, "broken", failure=f"`exceptions` names a law that a {kind} does not have.{hint}"
        )
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        case = Case(entry, Path(folder))
        for law in laws:
            with working_in(case.folder):
                result = result_of(kind, name, law.name, partial(law.check, case), entry.package)
            if law.name in exceptions:
                result = excepted(result, exceptions[law.name])
            yield result
            if law.first and result.outcome in ("broken", "exception", "not checked"):
                return


def check_pack(name: str, only: str | Sequence[str] = ()) -> list[Result]:
    """Check all components that a pack registers; a pack's author can use it as a test in one line.

    Args:
        name: name of the pack, with or without the prefix ``nablafx-``.
        only: one or more patterns of the components to check: ``"model/ladder"``, ``"exporter/*"``, or ``"ladder"``
            for every kind; all if empty.

    Returns:
        The result of each law.

    Raises:
        LawBroken: if the pack itself has a problem, a law is broken without a declared exception, the law of a declared
            exception holds, or an exception names an unknown law; the message lists all of these.
        RegistryError: if the pack is not installed, or a pattern matches no component.
    """
    results = list(pack_results(name, only))
    broken = [f"  {r.kind} {r.component}: {r.law}: {r.failure}" for r in results if r.failure]
    if broken:
        raise LawBroken("\n".join([f"{name} breaks {len(broken)} of {len(results)} laws:", *broken]))
    return results
