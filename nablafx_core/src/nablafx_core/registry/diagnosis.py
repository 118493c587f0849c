"""Why a pack fails and what to do about it, each in one line. Imports nothing heavy before something fails."""

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
    """What a user can do about a defect of the pack called `name`."""
    return f"Tell its author, or do without it: pip uninstall {name}, or list the packs that you want in NABLAFX_PACKS."


def import_problem(error: BaseException, module: str, name: str, requires: Sequence[str]) -> str:
    """Why a module of a pack, or what it imports, could not be imported.

    Args:
        error: that the import raised.
        module: which was to be imported.
        name: of the pack.
        requires: the ``Requires-Dist`` of its distribution.
    """
    package = module.partition(".")[0]
    missing = (error.name or "") if isinstance(error, ImportError) else ""
    if missing.partition(".")[0] == "nablafx_core":
        return f"{cause(error, package)}. It fits another version of core. Try: pip install --upgrade {CORE} {name}"
    if not isinstance(error, ModuleNotFoundError) or not missing:
        return f"{cause(error, package)}. {otherwise(name)}"
    if missing.partition(".")[0] == package:
        entry = missing == module or module.startswith(f"{missing}.")
        own = f"there is no module {missing}" if entry else f"its own module {missing} is missing"
        return f"{own}. Try: pip install --force-reinstall {name}; if that does not help, tell its author."
    return f"it needs the module '{missing}', which is not installed. {_install(missing, name, requires)}"


def _install(module: str, name: str, requires: Sequence[str]) -> str:
    """How to get a missing module: by what the pack declares, whose name may be another one than the module's."""
    wanted = canonical(module.partition(".")[0])
    absent = [requirement for requirement in _requirements(requires) if not _installed(requirement.name)]
    named = [requirement for requirement in absent if canonical(requirement.name) == wanted] or absent
    if named:
        return "Try: pip install " + " ".join(f"'{requirement.name}{requirement.specifier}'" for requirement in named)
    return f"Try: pip install {module.partition('.')[0]}; and tell the author of {name}, which does not declare it."


def core_mismatch(name: str, requires: Sequence[str]) -> str | None:
    """``needs nablafx-core>=9, but …`` if a distribution requires another core than the one installed, else None."""
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
    """Those that apply here and can be read."""
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
