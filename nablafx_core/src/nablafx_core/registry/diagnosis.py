"""Explain why a pack fails and what to do, in one line each.

The module imports fast: `packaging` is imported only when requirements are parsed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from nablafx_core.causes import cause
from nablafx_core.names import canonical

if TYPE_CHECKING:
    from packaging.requirements import Requirement

CORE = "nablafx-core"


def otherwise(name: str) -> str:
    """Return advice for a user about a defect of the pack called `name`: report it, uninstall it, or leave it out."""
    return f"Report it to its author, or leave it out: pip uninstall {name}, or list the other packs in NABLAFX_PACKS."


def import_problem(error: BaseException, module: str, name: str, requires: Sequence[str]) -> str:
    """Return why a module of a pack cannot be imported, and what to do.

    Either a module is missing (the pack's own, or another one), or core lacks a name that it imports, because the pack
    is for another version of core, or the module or one that it imports raises any other exception.

    Args:
        error: exception that the import raised.
        module: name of the module of the pack.
        name: name of the pack.
        requires: ``Requires-Dist`` of its distribution.
    """
    package = module.partition(".")[0]
    missing = (error.name or "") if isinstance(error, ImportError) else ""
    if missing.partition(".")[0] == "nablafx_core":
        return f"{cause(error, package)}. It is for another version of core. Try: pip install --upgrade {CORE} {name}"
    if not isinstance(error, ModuleNotFoundError) or not missing:
        return f"{cause(error, package)}. {otherwise(name)}"
    if missing.partition(".")[0] == package:
        entry = missing == module or module.startswith(f"{missing}.")
        own = f"there is no module {missing}" if entry else f"its own module {missing} is missing"
        return f"{own}. Try: pip install --force-reinstall {name}; if that does not help, report it to the author."
    return f"it needs the module '{missing}', which is not installed. {_install(missing, name, requires)}"


def _install(module: str, name: str, requires: Sequence[str]) -> str:
    """Return how to install a missing module.

    That is to install the declared but missing requirement of the same name; else all declared and missing ones, since
    a distribution may have another name than its module; else a distribution of the module's name.
    """
    wanted = canonical(module.partition(".")[0])
    absent = [requirement for requirement in _requirements(requires) if not _installed(requirement.name)]
    named = [requirement for requirement in absent if canonical(requirement.name) == wanted] or absent
    if named:
        return "Try: pip install " + " ".join(f"'{requirement.name}{requirement.specifier}'" for requirement in named)
    package = module.partition(".")[0]
    return f"Try: pip install {package}; and tell the author of {name} that the pack does not declare it."


def core_mismatch(name: str, requires: Sequence[str]) -> str | None:
    """Return ``needs nablafx-core>=9, but …`` and advice if a distribution requires another version of core; else None.

    Args:
        name: name of the distribution.
        requires: ``Requires-Dist`` of the distribution.
    """
    about_core = [text for text in requires if canonical(text[: len(CORE)]) == CORE]
    for requirement in _requirements(about_core):
        installed = _installed(CORE)
        if canonical(requirement.name) != CORE or installed is None:
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            wanted = f"needs {CORE}{requirement.specifier}, but {installed} is installed."
            return f"{wanted} Try: pip install --upgrade {CORE if _is_below(installed, requirement) else name}"
    return None


def _is_below(installed: str, requirement: Requirement) -> bool:
    from packaging.version import Version

    least = [
        spec.version.removesuffix(".*") for spec in requirement.specifier if spec.operator in (">=", ">", "==", "~=")
    ]
    return any(Version(installed) <= Version(version) for version in least)


def _requirements(texts: Sequence[str]) -> Iterator[Requirement]:
    """Yield the requirements that can be parsed and whose markers apply here, without those of extras."""
    from packaging.requirements import InvalidRequirement, Requirement

    for text in texts:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
