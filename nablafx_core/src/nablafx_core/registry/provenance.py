"""Find components for a file by the packs with which it was made, and say what to install if one is missing."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.version import InvalidVersion, Version

from nablafx_core.errors import RegistryError
from nablafx_core.files import read_json
from nablafx_core.names import canonical, is_qualified
from nablafx_core.registry import Entry, Registry


@dataclass(frozen=True)
class Provenance:
    """Finder of components for a file that was made with packs that may differ from the installed ones.

    Args:
        packs: version of each pack by name, as the file records them; empty if it records none.
    """

    packs: Mapping[str, str]

    @classmethod
    def of_run(cls, folder: Path) -> Provenance:
        """Return a finder with the packs that a folder's ``run.json`` records; with none if it cannot be read."""
        try:
            packs = read_json(str(folder / "run.json"))["packs"]
            return cls({str(pack["name"]): str(pack["version"]) for pack in packs})
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            return cls({})

    def find(self, kind: str, name: str) -> Entry:
        """Find the component that a name of the file means; like `Registry.find`.

        A name without its pack was unambiguous when it was written, so it means a component of a recorded pack: the
        only one that has the name or, if several have it, the only one of these in its recorded version. Other packs
        are searched too if all recorded packs are installed, none is older than recorded, and none has the name.

        Raises:
            RegistryError: if there is no such kind or component; the message says which packs to install.
            AmbiguousNameError: if the name is still in several packs.
        """
        registry = Registry.discover()
        if not is_qualified(name):
            found = [entry for entry in registry.entries(kind) if entry.component.name == name and self._has(entry)]
            # A pack of the same version had the component then, and only one pack can have had it.
            same = [entry for entry in found if entry.pack and self._version(entry.pack.name) == entry.pack.version]
            for candidates in (found, same):
                if len(candidates) == 1:
                    return candidates[0]
            if not found and self.advice():
                raise RegistryError("\n".join([f"No {kind} named '{name}' in the packs of the file.", *self.advice()]))
        try:
            return registry.find(kind, name)
        except RegistryError as error:
            raise type(error)(self.explained(str(error))) from None

    def explained(self, message: str) -> str:
        """Append the lines of `advice` to an error message, except those that it already contains."""
        return "\n".join([message, *(line for line in self.advice() if line not in message)])

    def advice(self) -> list[str]:
        """Return a line for each recorded pack that is missing or older than recorded, with a command to install it.

        The line of an installed pack that ``NABLAFX_PACKS`` leaves out says so instead.
        """
        loaded = {pack.name: pack.version for pack in Registry.discover().packs}
        lines = []
        for name, recorded in self.packs.items():
            here = loaded.get(canonical(name))
            if here is None and _installed(name):
                lines.append(f"  It was made with {name} {recorded}, which NABLAFX_PACKS leaves out.")
            elif here is None or _is_older(here, recorded):
                state = f"{here} is installed" if here else "it is not installed"
                install = shlex.join(
                    ["pip", "install", _requirement(name, recorded)]
                )  # quoted: the name may contain anything
                lines.append(f"  It was made with {name} {recorded}; {state}: {install}")
        return lines

    def _has(self, entry: Entry) -> bool:
        return entry.pack is not None and self._version(entry.pack.name) is not None

    def _version(self, pack: str) -> str | None:
        return next((recorded for name, recorded in self.packs.items() if canonical(name) == pack), None)


def _installed(name: str) -> bool:
    try:
        return bool(version(name))
    except (PackageNotFoundError, ValueError):
        return False


def _is_older(here: str, recorded: str) -> bool:
    try:
        return Version(Version(here).public) < Version(Version(recorded).public)
    except InvalidVersion:
        return False


def _requirement(name: str, recorded: str) -> str:
    try:
        return f"{name}>={Version(recorded).public}"  # a local version cannot be a lower bound
    except InvalidVersion:
        return name
