"""Find the installed packs: distributions with an entry point in the group ``nablafx``, which names a module."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from email import message_from_string
from email.message import Message
from importlib.metadata import Distribution, EntryPoint, distributions, entry_points

from nablafx_core.names import canonical
from nablafx_core.registry.diagnosis import CORE, otherwise
from nablafx_core.registry.packs import Pack

GROUP = "nablafx"
#: If importing the modules of a pack takes longer, every command says so on stderr.
VERY_SLOW_SECONDS = 2.0


def discover_packs() -> list[Pack]:
    """Import the modules of the installed packs; return the packs, core first, then by name.

    The environment variable ``NABLAFX_PACKS`` limits them. If it is unset, every pack is loaded;
    ``NABLAFX_PACKS=a,b`` loads those two (the prefix ``nablafx-`` may be left out, and names that are not installed are
    ignored), and an empty value loads none. Core itself is always loaded. A pack that fails is returned with its
    `problems`; no exception is raised.
    """
    wanted = os.environ.get("NABLAFX_PACKS")
    names = None if wanted is None else [name.strip() for name in wanted.split(",") if name.strip()]
    packs: dict[str, Pack] = {}
    for point, unreadable in _points():
        name, version, requires = _distribution(point)
        pack = packs.get(canonical(name)) or Pack(name, version, requires)
        if pack.name == CORE or names is None or any(pack.is_called(name) for name in names):
            packs[pack.name] = pack
            if unreadable:
                pack.problems.append(f"{unreadable} {otherwise(pack.name)}")
            else:
                pack.add(point)
    _warn_about_slow_imports(packs.values())
    return sorted(packs.values(), key=lambda pack: (pack.name != CORE, pack.name))


def _points() -> Iterator[tuple[EntryPoint, str]]:
    """Yield every entry point of the group with ""; for a distribution with unreadable ones, a made-up one and why."""
    try:
        found: Iterable[EntryPoint] = entry_points(group=GROUP)
    except Exception:  # one damaged distribution of any project makes this fail: read them one by one
        found = ()
    if found:
        yield from ((point, "") for point in found)
        return
    seen = set()
    for distribution in distributions():
        name = _name_of(distribution)
        if name in seen:  # an older copy, later in the path
            continue
        seen.add(name)
        try:
            yield from ((point, "") for point in distribution.entry_points if point.group == GROUP)
        except Exception as error:
            text = distribution.read_text("entry_points.txt") or ""
            if f"[{GROUP}]" in text:
                point = EntryPoint(name, name, GROUP)
                vars(point).update(dist=distribution)
                yield point, f"its entry_points.txt cannot be read ({type(error).__name__}: {error})."


def _name_of(distribution: Distribution) -> str:
    try:
        return canonical(str(_fields(distribution)["Name"]))
    except Exception:  # damaged or missing metadata; the exception depends on the Python version
        return str(id(distribution))


def _distribution(point: EntryPoint) -> tuple[str, str, list[str]]:
    """Return name, version and requirements of an entry point's distribution.

    If its metadata is damaged: the top-level package that the entry point names, ``"?"``, and no requirements.
    """
    with suppress(Exception):  # damaged or missing metadata; the exception depends on the Python version
        fields = _fields(point.dist) if point.dist else None
        if fields and fields["Name"]:
            return str(fields["Name"]), str(fields["Version"]), fields.get_all("Requires-Dist") or []
    return point.value.partition(":")[0].split(".")[0].strip() or point.name, "?", []


def _fields(distribution: Distribution) -> Message:
    """Return a distribution's metadata without the description: parsing a README takes longer than the rest."""
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or distribution.read_text("") or ""
    return message_from_string(text.partition("\n\n")[0])


def _warn_about_slow_imports(packs: Iterable[Pack]) -> None:
    for pack in packs:
        if pack.name != CORE and pack.import_seconds > VERY_SLOW_SECONDS:
            others = ",".join(
                other.name.removeprefix("nablafx-") for other in packs if other.name not in (pack.name, CORE)
            )
            sys.stderr.write(
                f"{pack.name} took {pack.import_seconds:.1f} s to import, which delays every command. "
                f"To leave it out: NABLAFX_PACKS={others}\n"
            )
