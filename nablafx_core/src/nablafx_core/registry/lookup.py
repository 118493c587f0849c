"""The registry: find the component of a name in the installed packs, and load it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from nablafx_core.causes import cause, raised_at
from nablafx_core.errors import AmbiguousNameError, RegistryError
from nablafx_core.first_result import first_result
from nablafx_core.hints import did_you_mean
from nablafx_core.names import canonical
from nablafx_core.pack_code import pack_code
from nablafx_core.registry.component import Component
from nablafx_core.registry.diagnosis import CORE
from nablafx_core.registry.discovery import discover_packs
from nablafx_core.registry.import_paths import import_outside
from nablafx_core.registry.kinds import KINDS, Kind, kind_named
from nablafx_core.registry.packs import Pack, import_target

if TYPE_CHECKING:
    from importlib.abc import Traversable


_MAX_LISTED = 30


def listed(kind: Kind, names: Sequence[str]) -> str:
    """Join the names of components for a message; for more than 30, give their number and a command that lists them."""
    return f"{len(names)}; `nablafx list {kind.plural}` lists them" if len(names) > _MAX_LISTED else ", ".join(names)


@dataclass(frozen=True)
class Entry:
    """Result of a look-up: a component, its kind, and the pack that provides it.

    Attributes:
        kind: kind of the component.
        component: name, target and summary; for code that is named by its import path, the path is name and target.
        pack: pack of the component; None for code that is named by its import path.
    """

    kind: Kind
    component: Component
    pack: Pack | None

    @property
    def qualified_name(self) -> str:
        """``pack/name``; without a pack, the import path."""
        return f"{self.pack.name}/{self.component.name}" if self.pack else self.component.target

    @property
    def package(self) -> str:
        """Top-level package of the target."""
        return self.component.target.partition(":")[0].partition(".")[0]

    def load(self) -> Any:
        """Import the target of a component that is code, and return it without a check of its kind.

        Raises:
            RegistryError: if the target cannot be imported, or if it is named by an import path that the rules in force
                do not allow (see `import_outside`). The message names the pack, if there is one, and the cause.
        """
        try:
            with pack_code():
                if self.pack is not None:
                    return import_target(self.component.target)
                return import_outside(self.component.target, Registry.discover().packages)
        except RegistryError:
            raise
        except Exception as error:
            target = self.component.target
            whose = f" of {self.pack.name} {self.pack.version}" if self.pack else ""
            why = self.pack.why(error, target.partition(":")[0]) if self.pack else cause(error, self.package)
            if self.pack is None and isinstance(error, ModuleNotFoundError) and error.name == self.package:
                why += f". Put {self.package}.py beside the experiment file, or install it."
            raise RegistryError(
                f"{self.kind.name} '{self.component.name}'{whose} cannot be imported from {target}: {why}"
            ) from error

    def resource(self) -> Traversable:
        """Return the file of a component that is content, such as a preset.

        Raises:
            RegistryError: if the package that the target names cannot be imported or does not contain the file.
        """
        package, _, path = self.component.target.partition(":")
        try:
            with pack_code():
                found = files(package).joinpath(path)
        except Exception as error:
            raise RegistryError(f"{self.kind.name} '{self.qualified_name}': {cause(error, package)}") from error
        if not found.is_file():
            raise RegistryError(
                f"{self.kind.name} '{self.qualified_name}': the pack has no file {self.component.target}."
            )
        return found


class Registry:
    """Finder of the components of packs.

    Args:
        packs: packs to search, in the order of lists and messages.
    """

    def __init__(self, packs: Iterable[Pack]) -> None:
        self.packs = list(packs)

    @staticmethod
    @first_result
    def discover() -> Registry:
        """Return the registry of this process; the first call finds the installed packs, see `discover_packs`."""
        return Registry(discover_packs())

    @property
    def packages(self) -> frozenset[str]:
        """Top-level packages of the packs."""
        return frozenset(pack.package for pack in self.packs)

    def entries(self, kind: str) -> Iterator[Entry]:
        """Yield every component of one kind, pack by pack.

        Raises:
            RegistryError: if there is no such kind.
        """
        which = kind_named(kind)
        for pack in self.packs:
            for component in pack.components(which).values():
                yield Entry(which, component, pack)

    def find(self, kind: str, name: str) -> Entry:
        """Return the component called `name`: a plain name, ``pack/name``, or an import path ``package.module:Class``.

        An import path is not checked and nothing is imported. It is not possible for content, such as a preset.

        Raises:
            RegistryError: if there is no such kind, or no pack provides the name.
            AmbiguousNameError: if several packs provide the name.
        """
        which = kind_named(kind)
        if ":" in name and not which.content:
            return Entry(which, Component(name, name, "named by its import path"), None)
        prefix, slash, plain = name.rpartition("/")
        found = [
            entry
            for entry in self.entries(which.name)
            if entry.component.name == plain and (not slash or (entry.pack and entry.pack.is_called(prefix)))
        ]
        if len(found) == 1:
            return found[0]
        if found:
            raise AmbiguousNameError(self._ambiguous_message(which, plain, found))
        raise RegistryError(self._unknown_message(which, name))

    def _ambiguous_message(self, kind: Kind, name: str, found: list[Entry]) -> str:
        width = max(len(entry.qualified_name) for entry in found)
        lines = [f"  {entry.qualified_name:<{width}}   {entry.component.target}" for entry in found]
        head = f"{kind.name} '{name}' is provided by {len(found)} packs. Write the one you mean:"
        return "\n".join([head, *lines])

    def _unknown_message(self, kind: Kind, name: str) -> str:
        names = sorted({entry.component.name for entry in self.entries(kind.name)})
        lines = [f"No {kind.name} named '{name}'.{did_you_mean(name.rpartition('/')[2], names)}"]
        prefix = name.rpartition("/")[0]
        if canonical(prefix) and not any(pack.is_called(prefix) for pack in self.packs):
            wanted = canonical(prefix) if canonical(prefix).startswith("nablafx-") else f"nablafx-{canonical(prefix)}"
            install = shlex.join(["pip", "install", wanted])  # quoted: the name may contain anything
            lines.append(f"  No pack named '{prefix}' is installed. If it is published: {install}")
        lines.append(f"  {kind.plural}: {listed(kind, names) or 'none; is a pack installed?'}")
        return "\n".join([*lines, *self.problems()])

    def problems(self) -> list[str]:
        """Return the problems of packs that are known so far, one line each, for the end of a message.

        The required version of core is checked first. A hook that was not called yet may have further problems; see
        `collect_all`.
        """
        for pack in self.packs:
            pack.check_core()
        return [f"  broken pack {pack.name} {pack.version}: {text}" for pack in self.packs for text in pack.problems]

    def check_requirements(self, requirements: Iterable[str]) -> None:
        """Check the section ``requires`` of an experiment.

        Args:
            requirements: requirements such as ``"nablafx-acme>=0.2"``; markers and extras are ignored.

        Raises:
            RegistryError: if a text is not a requirement; or if a distribution is missing or has another version: the
                message lists all of these.
        """
        from packaging.requirements import InvalidRequirement, Requirement

        missing = []
        for text in requirements:
            try:
                requirement = Requirement(text)
            except InvalidRequirement as error:
                raise RegistryError(
                    f"requires: '{text}' is not a requirement such as 'nablafx-acme>=0.2': {error}"
                ) from error
            try:
                installed = version(requirement.name)
            except PackageNotFoundError:
                missing.append(f"  {text}: not installed. Try: pip install '{text}'")
                continue
            if not requirement.specifier.contains(installed, prereleases=True):
                missing.append(f"  {text}: version {installed} is installed. Try: pip install '{text}'")
        if missing:
            raise RegistryError(
                "\n".join(["The experiment requires packs that are missing or have another version:", *missing])
            )

    def pack_named(self, name: str) -> Pack:
        """Return the pack called `name`, with or without the prefix ``nablafx-``.

        Raises:
            RegistryError: if the registry has no such pack: it is not installed, or ``NABLAFX_PACKS`` leaves it out.
        """
        for pack in self.packs:
            if pack.is_called(name):
                return pack
        names = ", ".join(pack.name for pack in self.packs)
        raise RegistryError(f"No pack named '{canonical(name)}' is installed. Packs: {names}.")

    def raised_by(self, error: BaseException) -> tuple[Pack, str] | None:
        """Return the first pack through whose code an exception passed, and the innermost line there.

        The line is text such as ``nablafx_acme/ladder.py:31``. None if the exception passed through no pack but core.
        """
        for pack in self.packs:
            if pack.name != CORE and pack.package and (where := raised_at(error, pack.package)):
                return pack, where
        return None

    def collect_all(self) -> None:
        """Collect all components of every pack, so that `Pack.problems` is complete."""
        for pack in self.packs:
            pack.check_core()
            for kind in KINDS.values():
                pack.components(kind)
