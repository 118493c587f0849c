"""Import paths to code outside packs: the modules that a file may name, and when they may be imported.

Importing a module runs it. Users write their own experiment files, so import paths in them are followed, also to
modules beside the files. A bundle, a run's config or a data set may be untrusted: import paths in it may name only
packs, attributes of modules that are loaded already, and modules that the user trusts by name. A run that the user
trained on this machine may also name the modules of that training. See docs/decisions/0023.
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
    """Rules for a file: the modules that its import paths may name, and the observers that it may have.

    Args:
        folders: folders that are searched before Python's own path: those of the user's experiment files. They are not
            searched for an untrusted file.
        stranger: name of an untrusted file for messages, such as ``"ts9.nfx"``; empty for the user's own files.
        trusted: modules that an untrusted file may name beside those of packs, with the folder of each; the folder is
            None for a module on Python's own path.
        observers: sections of the observers that an untrusted file may have; None for any.
    """

    folders: tuple[Path, ...] = ()
    stranger: str = ""
    trusted: Mapping[str, Path | None] = field(default_factory=dict)
    observers: Sequence[Any] | None = None

    @contextmanager
    def used(self) -> Iterator[None]:
        """Apply these rules to all import paths that this thread follows inside the ``with``."""
        token = _code.set(self)
        try:
            yield
        finally:
            _code.reset(token)


#: Rules in force; None outside any `Code`, where code and command lines are the user's own.
_code: ContextVar[Code | None] = ContextVar("code", default=None)
#: Modules that the user trusts, for every `Code` that is created inside `trusting`.
_trusted: ContextVar[Mapping[str, Path | None] | None] = ContextVar("trusted", default=None)
#: Folders of modules that were found beside an experiment.
_found_beside: dict[str, Path] = {}


def code_of_files(files: Iterable[Path | str]) -> Code:
    """Return the rules for the import paths of experiment files: modules may be in the folders of the files.

    If one of the folders contains a ``run.json``, the files count as the untrusted config of that run: the rules of
    `code_of_run` are returned.

    Args:
        files: paths of the experiment files; without any, modules may be in the current folder.
    """
    folders = list(dict.fromkeys(Path(file).resolve().parent for file in files)) or [Path.cwd()]
    for folder in folders:
        if os.path.lexists(folder / _RUN):
            return code_of_run(folder)
    return Code(tuple(folders))


def code_of_run(folder: Path, overrides: Iterable[str] = ()) -> Code:
    """Return the rules for the import paths of a run's config and model, and for its observers.

    A run is untrusted. Every run may import the modules that `trusting` allows. A run that this user trained on this
    machine, recognised by the name of its folder, may also import the modules of that training, and may have its
    observers; any other run may have no observers.

    Args:
        folder: folder of the run.
        overrides: the user's overrides; if they set observers, any observers are allowed.
    """
    trusted, observers = _remembered(folder.resolve().name)
    chosen = any(item.partition("=")[0].split(".")[:2] == ["track", "observers"] for item in overrides)
    return Code((), str(folder), {**trusted, **(_trusted.get() or {})}, None if chosen else observers)


def code_of_stranger(name: str) -> Code:
    """Return the rules for an untrusted file, which messages call `name`: it may name what `trusting` allows."""
    return Code(stranger=name, trusted=_trusted.get() or {})


@contextmanager
def trusting(modules: str | Path | Sequence[str | Path]) -> Iterator[None]:
    """Allow untrusted files whose rules are made inside the ``with`` to name these modules.

    Args:
        modules: one or several Python files or folders of packages, such as ``"mymodel.py"``, or names of installed
            top-level modules. If there is a folder of that name, it is meant.

    Raises:
        RegistryError: if a ``.py`` file does not exist, or the name of an item is not the name of a top-level module.
    """
    named = [modules] if isinstance(modules, (str, Path)) else modules
    token = _trusted.set({**(_trusted.get() or {}), **dict(_place(module) for module in named)})
    try:
        yield
    finally:
        _trusted.reset(token)


def _place(module: str | Path) -> tuple[str, Path | None]:
    """Return the name of a trusted module and the folder that contains it; None for an installed module."""
    path = Path(os.path.abspath(module))  # symbolic links are not resolved: the link's name is the module's name
    name, folder = str(module), None
    if path.is_dir() or path.suffix == ".py":
        if not path.exists():
            raise RegistryError(f"--trust {module}: there is no such file.")
        name, folder = path.name.removesuffix(".py"), path.parent
    if not name.isidentifier():
        raise RegistryError(f"--trust {module}: expected a Python file such as mymodel.py, or the name of a module.")
    return name, folder


def import_outside(target: str, packages: Iterable[str]) -> Any:
    """Import the target of an import path, if the rules in force allow it.

    The rules are those of the `Code` that this thread uses; without one, the path is the user's own. A user's own path
    may name any module. The path of an untrusted file may name a trusted module, a module of a pack, or an attribute of
    a module that is loaded already.

    Args:
        target: ``"package.module:attribute"``.
        packages: top-level packages of the installed packs.

    Raises:
        RegistryError: if the rules do not allow the target, or another module of that name is already loaded; then
            nothing is imported.
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
        f"{code.stranger} names code outside packs: {target}. Importing it would run it, so nothing was imported. "
        f'If you know that code: --trust {name}.py, with the path of the file (in Python: trust="{name}.py").'
    )


def remember(run_id: str, config: Mapping[str, Any]) -> None:
    """Store, for this user and outside the run's folder, the modules and observers that the run may use again.

    Stored are the loaded modules that the experiment names, with the folders beside the experiment where they were
    found, and its observers. Nothing is stored if there are none, or if the user's cache cannot be written.

    Args:
        run_id: id of the run.
        config: experiment of the run, or the record of a sweep, which contains one under the key ``experiment``.
    """
    modules = {name: _folder_beside(name) for name in sorted(set(_named_modules(config))) if name in sys.modules}
    track = config.get("experiment", config).get("track")
    observers = track.get("observers") if isinstance(track, Mapping) else None
    if modules or observers:
        try:
            _memory(run_id).parent.mkdir(parents=True, exist_ok=True)
            replace_json(_memory(run_id), {"modules": modules, "observers": observers or []})
        except OSError:
            pass  # then loading the model requires --trust, and the observers are left out


def _remembered(run_id: str) -> tuple[dict[str, Path | None], list[Any]]:
    """Return the modules and the observers that `remember` stored for a run; both are empty if nothing was stored."""
    try:
        content = json.loads(_memory(run_id).read_bytes())
        modules = {str(name): Path(folder) if folder else None for name, folder in content["modules"].items()}
        return modules, list(content["observers"])
    except (OSError, ValueError, AttributeError, TypeError, KeyError):
        return {}, []


def _folder_beside(module: str) -> str | None:
    """Return the folder of a module that was found beside the experiment; None for an installed module."""
    folder = _found_beside.get(module)
    return None if folder is None else str(folder)


def _memory(run_id: str) -> Path:
    return Path(cache_root()) / "code" / f"{run_id}.json"


def _named_modules(value: Any) -> Iterator[str]:
    """Yield the top-level module of each import path in plain data; any string with a colon counts as one."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _named_modules(item)
    elif isinstance(value, str) and ":" in value:
        yield value.partition(":")[0].partition(".")[0]


def file_of(module: str) -> str:
    """Return the name of the file, or of a package's folder, of a loaded top-level module; else the module's name."""
    place = getattr(sys.modules.get(module), "__file__", None)
    if not place:
        return module
    return Path(place).parent.name if Path(place).stem == "__init__" else Path(place).name


class _Finder:
    """Finder of top-level modules in folders, for `sys.meta_path`."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = [str(folder) for folder in folders]

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the spec of a top-level module in the folders.

        None for a module that they lack, a folder without ``__init__.py``, a submodule, or a name of the standard
        library.
        """
        if path is not None or name in sys.stdlib_module_names:
            return None
        spec = PathFinder.find_spec(name, self._folders)
        return spec if spec is not None and spec.origin is not None else None


@contextmanager
def _searched_first(folders: Sequence[Path], target: str) -> Iterator[None]:
    """Search folders before Python's path inside the ``with``, for all top-level modules; `sys.path` is unchanged.

    This is done only if the folders have the top-level module of the import path; else nothing changes. Modules of the
    standard library are never replaced. The folder of the module is recorded for `remember`.

    Args:
        folders: folders to search.
        target: import path, ``"package.module:attribute"``.

    Raises:
        RegistryError: if the folders have the module, but another module of that name is already loaded.
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
