"""Names of components as text: ``gain``, ``nablafx-dsp/gain`` or an import path ``package.module:Class``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, count


def canonical(name: str) -> str:
    """Return a distribution's name as packaging tools compare it: lower case, runs of ``-_.`` as one dash.

    Such runs at its ends are removed.
    """
    return "-".join(part for part in name.lower().replace("_", "-").replace(".", "-").split("-") if part)


def short_name(name: str) -> str:
    """Return a name without its pack; an import path is unchanged."""
    return name if ":" in name else name.rpartition("/")[2]


def is_qualified(name: str) -> bool:
    """Return True if a name says where the component is: ``pack/name`` or an import path."""
    return "/" in name or ":" in name


def names_match(one: str, other: str) -> bool:
    """Return True if two names can mean the same component.

    ``gain`` matches ``nablafx-dsp/gain`` and ``dsp/gain``; ``acme/gain`` matches neither of those two.
    """
    if one == other:
        return True
    if ":" in one or ":" in other or short_name(one) != short_name(other):
        return False
    packs = {_pack(name) for name in (one, other)} - {""}
    return len(packs) < 2


def _pack(name: str) -> str:
    return canonical(name.rpartition("/")[0]).removeprefix("nablafx-")


def figure_names(names: Iterable[str]) -> list[str]:
    """Return the names of losses or metrics without their packs, for tables and curves; a repeated one gets a number.

    ``[nablafx-core/esr, nablafx-core/mr_stft, acme/esr]`` gives ``[esr, mr_stft, esr_2]``.
    """
    found: list[str] = []
    for name in map(short_name, names):
        numbered = (f"{name}_{number}" for number in count(2))
        found.append(next(one for one in chain([name], numbered) if one not in found))
    return found


def told_apart(names: Sequence[str]) -> dict[str, str]:
    """Map each name to its form without the pack, or to itself if names of several packs have the same short form.

    A name without a pack, as older records contain it, is no pack of its own: with one pack's name of that short form,
    both map to the short form.
    """
    packs: dict[str, set[str]] = {}
    for name in names:
        packs.setdefault(short_name(name), set()).add(_pack(name) if ":" not in name else "")
    return {name: name if len(packs[short_name(name)] - {""}) > 1 else short_name(name) for name in names}
