"""Import paths to code outside packs: where a path in a file may lead, and when it may be imported.

Importing a module runs it. Users write their own experiment files, so import paths in them are followed, to the files
beside them too. A bundle, a run's config or a data set may be untrusted: import paths in it lead only to packs, to
classes that are loaded already, and to the modules that the user trusts by name. See docs/decisions.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import reduce
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from nablafx_core.errors import RegistryError
from nablafx_core.files import cache_root, replace_json
from nablafx_core.registry.packs import import_target

_RUN = "run.json"


@dataclass(frozen=True)
class Code:
    """Modules to which the import paths of a file may lead.

    Args:
        folders: searched for a module before Python's own path: those of the user's experiment files.
        stranger: name of the file in messages if its author is unknown, such as ``"ts9.nfx"``; empty for the
            user's own.
        trusted: modules that an untrusted file may name, with the folder of each; None for Python's own path.
        observers: sections of the observers that are built for an untrusted file; None for any.
    """

    folders: tuple[Path, ...] = ()
    stranger: str = ""
    trusted: Mapping[str, Path | None] = field(default_factory=dict)
    observers: Sequence[Any] | None = None

    @contextmanager
    def used(self) -> Iterator[None]:
        """Apply these rules to import paths in this thread, inside the ``with``."""
        token = _code.set(self)
        try:
            yield
        finally:
            _code.reset(token)


#: Default outside any `Code`: code and command lines are the user's own.
_code: ContextVar[Code | None] = ContextVar("code", default=None)
#: Modules that the user trusts, for each `Code` that is made inside `trusting`.
_trusted: ContextVar[Mapping[str, Path | None] | None] = ContextVar("trusted", default=None)
#: Folders of modules that were found beside an experiment.
_found_beside: dict[str, Path] = {}


def code_of_files(files: Iterable[Path | str]) -> Code:
    """Return the rules for import paths of experiment files; the config of a run counts as untrusted.

    Without a file, modules may be in the current folder.
    """
    folders = list(dict.fromkeys(Path(file).resolve().parent for file in files)) or [Path.cwd()]
    for folder in folders:
        if os.path.lexists(folder / _RUN):
            return code_of_run(folder)
    return Code(tuple(folders))


def code_of_run(folder: Path, overrides: Iterable[str] = ()) -> Code:
    """Return the rules for import paths of a run's config and of its model, and for its observers.

    A run that this user trained here may import the modules with which it was trained, and has its observers again.

    Args:
        folder: folder of the run.
        overrides: what the user sets for it; any observer that is among it is the user's own.
    """
    trusted, observers = _remembered(folder.resolve().name)
    chosen = any(item.partition("=")[0].split(".")[:2] == ["track", "observers"] for item in overrides)
    return Code((), str(folder), {**trusted, **(_trusted.get() or {})}, None if chosen else observers)


def code_of_stranger(name: str) -> Code:
    """Return the rules for import paths of an untrusted file."""
    return Code(stranger=name, trusted=_trusted.get() or {})


@contextmanager
def trusting(modules: str | Path | Sequence[str | Path]) -> Iterator[None]:
    """Let untrusted files name these modules, inside the ``with``.

    Args:
        modules: Python files or folders of packages, such as ``"mymodel.py"``, or names of installed modules.

    Raises:
        RegistryError: if one is neither a file nor the name of a module.
    """
    named = [modules] if isinstance(modules, (str, Path)) else modules
    token = _trusted.set({**(_trusted.get() or {}), **dict(_place(module) for module in named)})
    try:
        yield
    finally:
        _trusted.reset(token)


def _place(module: str | Path) -> tuple[str, Path | None]:
    path = Path(os.path.abspath(module))  # links are not followed: the name of the link is the module's
    name, folder = str(module), None
    if path.is_dir() or path.suffix == ".py":
        if not path.exists():
            raise RegistryError(f"--trust {module}: there is no such file.")
        name, folder = path.name.removesuffix(".py"), path.parent
    if not name.isidentifier():
        raise RegistryError(f"--trust {module}: expected a Python file such as mymodel.py, or the name of a module.")
    return name, folder


def import_outside(target: str, packages: Iterable[str]) -> Any:
    """Import the target of an import path, if the file that names it may.

    Args:
        target: ``"package.module:attribute"``.
        packages: top-level packages of the installed packs.

    Raises:
        RegistryError: if the file is untrusted and the module is not trusted; nothing is imported then.
        Exception: any exception that the import raises.
    """
    code = _code.get() or Code()
    if not code.stranger:
        with _searched_first(code.folders, target):
            return import_target(target)
    module, _, attribute = target.partition(":")
    name = module.partition(".")[0]
    if name in code.trusted:
        folder = code.trusted[name]
        with _searched_first((folder,) if folder else (), target):
            return import_target(target)
    if name in packages and "__main__" not in module.split("."):
        return import_target(target)
    if module in sys.modules:  # already loaded, so looking it up runs nothing
        return reduce(lambda found, part: vars(found)[part], attribute.split("."), sys.modules[module])
    raise RegistryError(
        f"{code.stranger} names code that is in no pack: {target}. Importing it would run it, so nothing was imported. "
        f'If you know that code: --trust {name}.py, with the path of the file (from Python: trust="{name}.py").'
    )


def remember(run_id: str, config: Mapping[str, Any]) -> None:
    """Note for this user, outside the run, what its experiment may do again.

    Noted are the modules that it names, with their folders beside it, and its observers.

    Args:
        run_id: id of the run.
        config: its experiment, or the record of a sweep.
    """
    modules = {name: _folder_beside(name) for name in sorted(set(_named_modules(config))) if name in sys.modules}
    track = config.get("experiment", config).get("track")
    observers = track.get("observers") if isinstance(track, Mapping) else None
    if modules or observers:
        try:
            _memory(run_id).parent.mkdir(parents=True, exist_ok=True)
            replace_json(_memory(run_id), {"modules": modules, "observers": observers or []})
        except OSError:
            pass  # loading the model then requires --trust, and the observers are left out


def _remembered(run_id: str) -> tuple[dict[str, Path | None], list[Any]]:
    """Return the modules and the observers that were noted for a run; none if nothing was."""
    try:
        content = json.loads(_memory(run_id).read_bytes())
        modules = {str(name): Path(folder) if folder else None for name, folder in content["modules"].items()}
        return modules, list(content["observers"])
    except (OSError, ValueError, AttributeError, TypeError, KeyError):
        return {}, []


def _folder_beside(module: str) -> str | None:
    """Return the folder of a module that was found beside the experiment; None if it is installed."""
    folder = _found_beside.get(module)
    return None if folder is None else str(folder)


def _memory(run_id: str) -> Path:
    return Path(cache_root()) / "code" / f"{run_id}.json"


def _named_modules(value: Any) -> Iterator[str]:
    """Return the top-level modules of the import paths in plain data."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _named_modules(item)
    elif isinstance(value, str) and ":" in value:
        yield value.partition(":")[0].partition(".")[0]


def file_of(module: str) -> str:
    """Return the name of the file or folder of a top-level module that is loaded."""
    place = getattr(sys.modules.get(module), "__file__", None)
    if not place:
        return module
    return Path(place).parent.name if Path(place).stem == "__init__" else Path(place).name


class _Finder:
    """Finder of top-level modules in folders, for `sys.meta_path`."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = [str(folder) for folder in folders]

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Find a module that is not Python's own; skip folders without code."""
        if path is not None or name in sys.stdlib_module_names:
            return None
        spec = PathFinder.find_spec(name, self._folders)
        return spec if spec is not None and spec.origin is not None else None


@contextmanager
def _searched_first(folders: Sequence[Path], target: str) -> Iterator[None]:
    """Search folders for the module of an import path and for the modules it imports; `sys.path` is unchanged.

    Raises:
        RegistryError: if another module of that name is already loaded.
    """
    finder = _Finder(folders)
    name = target.partition(":")[0].partition(".")[0]
    spec = finder.find_spec(name)
    if spec is None or spec.origin is None:
        yield
        return
    there = getattr(sys.modules.get(name), "__file__", None)
    if name in sys.modules and (there is None or Path(there).resolve() != Path(spec.origin).resolve()):
        raise RegistryError(
            f"'{target}' means {spec.origin}, but another module '{name}' is loaded ({there}). Rename one of them, or "
            "use another process."
        )
    found = Path(spec.origin)
    _found_beside[name] = found.parents[1] if spec.submodule_search_locations else found.parent
    sys.meta_path.insert(0, finder)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
