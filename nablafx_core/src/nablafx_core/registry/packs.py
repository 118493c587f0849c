"""A pack: an installed distribution, the hooks of its modules, and their components."""

from __future__ import annotations

import functools
import importlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from importlib.metadata import EntryPoint
from types import FunctionType, MethodType, ModuleType
from typing import Any

import pluggy

from nablafx_core.causes import cause
from nablafx_core.errors import NablafxError
from nablafx_core.hints import close_to
from nablafx_core.names import canonical
from nablafx_core.pack_code import pack_code
from nablafx_core.registry import hookspecs
from nablafx_core.registry.component import Component
from nablafx_core.registry.diagnosis import CORE, core_mismatch, import_problem, otherwise
from nablafx_core.registry.kinds import KINDS, Kind

#: If an import takes longer, there is a warning for the pack's author.
SLOW_SECONDS = 0.5


class _Hooks(pluggy.PluginManager):
    """Hooks of one pack. For speed, only the hooks that its modules define get specifications: most have one or two."""

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
        """Parse a hook as pluggy does; in a module, consider only functions and methods, which is faster."""
        kinds = (FunctionType, MethodType, classmethod, staticmethod)
        if isinstance(plugin, ModuleType) and not isinstance(vars(plugin).get(name), kinds):
            return None
        return super().parse_hookimpl_opts(plugin, name)

    def parse_hookspec_opts(self, module_or_class: Any, name: str) -> Any:
        """Return the specification in the module `hookspecs` for a defined hook that has none yet; else None."""
        caller = vars(self.hook).get(name)
        return _specification(name) if caller is not None and not caller.has_spec() else None

    def add(self, module: object) -> None:
        """Register a module, and validate its hooks against their specifications."""
        self.register(module)
        if any(self.parse_hookspec_opts(hookspecs, name) for name in vars(self.hook)):
            self.add_hookspecs(hookspecs)


@functools.cache
def _specification(name: str) -> Any:
    return pluggy.PluginManager("nablafx").parse_hookspec_opts(hookspecs, name)


class Pack:
    """A distribution and its components. Failures of its code are stored as text and not raised, but see `call`.

    Args:
        name: name of the distribution.
        version: version of the distribution.
        requires: ``Requires-Dist`` of the distribution.

    Attributes:
        name: canonical name of the distribution, which identifies the pack.
        version: version of the distribution.
        problems: messages about defects that make the pack, or a part of it, unusable, with advice.
        warnings: messages for the pack's author, which a user may ignore.
        import_seconds: time that the import of its modules took, in seconds.
        package: top-level package of the module that its first entry point names; empty if none names a module.
    """

    def __init__(self, name: str, version: str, requires: Sequence[str] = ()) -> None:
        self.name = canonical(name)
        self.version = version
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.import_seconds = 0.0
        self._requires = tuple(requires)
        self.package = ""
        self._hooks = _Hooks("nablafx")
        self._components: dict[str, dict[str, Component]] = {}
        self._lock = threading.Lock()

    def is_called(self, name: str) -> bool:
        """Return True if `name` is the name of this pack, with or without the prefix ``nablafx-``."""
        return canonical(name) in (self.name, self.name.removeprefix("nablafx-"))

    def add(self, entry_point: EntryPoint) -> None:
        """Import the module or object that an entry point names, and register its hooks.

        If that fails, a problem is added to the pack.
        """
        name, _, attribute = (part.strip() for part in entry_point.value.partition("[")[0].partition(":"))
        if not all(part.isidentifier() for part in name.split(".")):
            line = f"{entry_point.name} = {entry_point.value}"
            self.problems.append(f"its entry point '{line}' does not name a module. {otherwise(self.name)}")
            return
        self.package = self.package or name.partition(".")[0]
        module = self._imported(name)
        if module is None:
            return
        try:
            with pack_code():
                found: object = functools.reduce(getattr, filter(None, attribute.split(".")), module)
        except Exception:
            found = None
        if found is None:
            self.problems.append(f"{name} has no '{attribute}', which its entry point names. {otherwise(self.name)}")
        else:
            self.register(found)

    def _imported(self, name: str) -> object | None:
        """Import a module and measure the time; if that fails, add a problem to the pack and return None."""
        began = time.perf_counter()
        try:
            with pack_code():
                return importlib.import_module(name)
        except Exception as error:
            self.problems.append(f"cannot import {name}: {self.why(error, name)}")
            return None
        finally:
            seconds = time.perf_counter() - began
            self.import_seconds += seconds
            if seconds > SLOW_SECONDS:
                self.warnings.append(
                    f"{name} takes {seconds:.1f} s to import; import heavy modules later, in functions"
                )

    def why(self, error: BaseException, module: str) -> str:
        """Return why a module of the pack, or a module that it imports, cannot be imported, and what to do.

        Args:
            error: exception that the import raised.
            module: name of the module of the pack.
        """
        if mismatch := core_mismatch(self.name, self._requires):
            return f"{cause(error, module.partition('.')[0])}. It {mismatch}"
        return import_problem(error, module, self.name, self._requires)

    def check_core(self) -> None:
        """Add a problem if the pack is for another version of core; deferred, to keep start-up fast."""
        mismatch = core_mismatch(self.name, self._requires)
        if mismatch and not any(mismatch in problem for problem in self.problems):
            self.problems.append(mismatch)

    def register(self, module: object) -> None:
        """Register the hooks of a module or another object, once; if that fails, add a problem to the pack."""
        if self._hooks.is_registered(module):
            return
        try:
            with pack_code():
                self._hooks.add(module)
                warnings = list(self._uncalled_hooks(module))
        except Exception as error:
            if self._hooks.is_registered(module):
                self._hooks.unregister(module)
            self.problems.append(f"its hooks are invalid: {' '.join(str(error).split())}. {otherwise(self.name)}")
        else:
            self.warnings += warnings

    def _uncalled_hooks(self, module: object) -> Iterator[str]:
        """Yield a warning for each function that looks like a hook but is never called, or one if there is none."""
        callers = self._hooks.get_hookcallers(module) or []
        for caller in callers:
            if not caller.has_spec():
                yield f"this core has no hook '{caller.name}'{_suggestion(caller.name)}"
        hooks = {caller.name for caller in callers}
        own = [name for name in dir(module) if name.startswith("nablafx_") and callable(getattr(module, name))]
        yield from (f"'{name}' lacks @hookimpl and is not called" for name in own if name not in hooks)
        if not own:
            name = getattr(module, "__name__", repr(module))
            yield f"{name:.60} has no hooks. Does the entry point name the right module?"

    def implements(self, hook: str) -> bool:
        """Return True if the pack implements the hook of that name."""
        caller = getattr(self._hooks.hook, hook, None)
        return caller is not None and bool(caller.get_hookimpls())

    def components(self, kind: Kind) -> dict[str, Component]:
        """Return the components of one kind that the pack provides, by name; the hook is called once.

        A component with a fault is left out, and a hook that raises gives no components; both add a problem to the
        pack. A hook that asks for the components of its own kind gets none.

        If several threads call this first at the same time, each may call the hook; all get the first result. No lock
        is held meanwhile, because a hook may import, and thus wait for an importing thread that calls this as well.
        """
        if kind.name not in self._components:
            asked = _being_collected.get()
            if (self, kind.name) in asked:
                return {}  # recursion
            token = _being_collected.set(asked | {(self, kind.name)})
            try:
                found, problems = self._collect(kind)
            finally:
                _being_collected.reset(token)
            with self._lock:
                if kind.name not in self._components:
                    self.problems += problems
                    self._components[kind.name] = found
        return self._components[kind.name]

    def _collect(self, kind: Kind) -> tuple[dict[str, Component], list[str]]:
        """Return the components of one kind by name, and the problems with them."""
        found: dict[str, Component] = {}
        problems: list[str] = []
        try:
            with pack_code():
                for item in self._items_of(kind.hook):
                    if fault := _fault(item, found):
                        problems.append(f"{kind.hook}() {fault}. {otherwise(self.name)}")
                    elif isinstance(item, Component):
                        found[item.name] = item
        except Exception as error:
            return {}, [self._failure_message(kind.hook, error)]
        return found, problems

    def call(self, hook: str, **arguments: object) -> list[object]:
        """Call a hook such as `nablafx_callbacks`, and return all items that the pack's implementations return.

        The list is empty if the pack does not implement the hook, and if the hook fails, which adds a problem.

        Args:
            hook: name of the hook.
            arguments: arguments of the hook.

        Raises:
            NablafxError: if the hook raises one, with which a pack rejects something on purpose.
        """
        try:
            with pack_code():
                return self._items_of(hook, **arguments)
        except NablafxError:
            raise
        except Exception as error:
            self.problems.append(self._failure_message(hook, error))
            return []

    def _items_of(self, hook: str, **arguments: object) -> list[object]:
        if not self.implements(hook):
            return []
        return [item for answer in getattr(self._hooks.hook, hook)(**arguments) for item in answer]

    def _failure_message(self, hook: str, error: BaseException) -> str:
        return f"{hook}() failed: {cause(error, self.package)}. {otherwise(self.name)}"


#: Packs and kinds whose components this thread is collecting.
_being_collected: ContextVar[frozenset[tuple[Pack, str]]] = ContextVar("asked_now", default=frozenset())


def _fault(item: object, found: Mapping[str, Component]) -> str | None:
    """Return the fault of an item that a hook returned; None if it has none. Items with a fault would fail later."""
    if not isinstance(item, Component):
        return f"returned {type(item).__name__}, not Component: {item!r:.60}"
    if not isinstance(item.name, str) or not item.name or set(item.name) & set("/:"):
        return f"gives the name {item.name!r}; expected a string that is not empty and has no '/' and no ':'"
    texts = {"target": item.target, "summary": item.summary, "licence": item.licence or "", "sha256": item.sha256 or ""}
    for field, value in texts.items():
        if not isinstance(value, str):
            return f"gives '{item.name}' the {field} {value!r:.60}; expected a string"
    if not isinstance(item.example, Mapping):
        return f"gives '{item.name}' the example {item.example!r:.60}; expected a mapping"
    if not (isinstance(item.exceptions, Mapping) and all(map(_is_reason, item.exceptions.items()))):
        return f"gives '{item.name}' exceptions {item.exceptions!r:.60}; expected a mapping of a law's name to a reason"
    return f"names '{item.name}' twice; the first one is used" if item.name in found else None


def _is_reason(exception: tuple[object, object]) -> bool:
    law, reason = exception
    return isinstance(law, str) and isinstance(reason, str) and bool(reason.strip())


def _suggestion(name: str) -> str:
    plurals = [kind.plural for kind in KINDS.values()] + ["callbacks"]
    close = close_to(name.removeprefix("nablafx_"), plurals)
    if close:
        return f"; did you mean 'nablafx_{close}'?"
    return f"; it may be for a newer one. Try: pip install --upgrade {CORE}"


def import_target(target: str) -> object:
    """Import the module of ``"package.module:attribute"``, and return the attribute, which may be nested.

    Raises:
        ValueError: if the text is not of that form.
        ImportError, AttributeError: if there is no such module or attribute.
        Exception: any exception that the module raises while it is imported.
    """
    module, colon, attribute = target.partition(":")
    if not (module and colon and attribute):
        raise ValueError(f"'{target}' is not of the form package.module:attribute")
    found: object = importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found
