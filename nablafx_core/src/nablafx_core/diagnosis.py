"""Why a pack fails and what to do about it, each in one line. Imports nothing heavy before something fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from nablafx_core.pack_code import PackFailure

if TYPE_CHECKING:
    from packaging.requirements import Requirement

CORE = "nablafx-core"


def canonical(name: str) -> str:
    """A distribution's name as packaging tools compare it: lower case, runs of ``-_.`` as one dash."""
    return "-".join(part for part in name.lower().replace("_", "-").replace(".", "-").split("-") if part)


def cause(error: BaseException, package: str = "") -> str:
    """``ValueError: what it says (nablafx_acme/ladder.py:31)``, with the place only if it is in `package`."""
    if isinstance(error, PackFailure):
        error = error.original
    text = str(error).strip().splitlines()
    said = f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
    where = raised_at(error, package) if package else ""
    return f"{said} ({where})" if where else said


def raised_at(error: BaseException, package: str) -> str:
    """The innermost line of a package that an exception came through, such as ``nablafx_acme/ladder.py:31``.

    Empty if it came through none. Where an exception replaced another one, the last one counts.
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
    """Module, file and line of each call that an exception left, the innermost last."""
    while trace is not None:
        frame = trace.tb_frame
        module = str(frame.f_globals.get("__name__", ""))
        if not module.startswith("nablafx_core.testing"):  # where core itself is checked, what checks is not to blame
            yield module, frame.f_code.co_filename, trace.tb_lineno
        trace = trace.tb_next


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
