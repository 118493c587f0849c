"""Whether the parts of a chain fit together by name: what controllers read, and what is labelled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nablafx_core.graybox.topology import Item, Parallel, Sidechain
from nablafx_core.hints import did_you_mean

Path = tuple[str | int, ...]
Problem = tuple[Path, str]

#: What a controller reads without a label.
READS = ("chain", "processor", "key")


def as_section(item: Item) -> dict[str, Any]:
    """As much of an item's section as `problems` looks at."""
    if isinstance(item, Parallel):
        branches = [[as_section(part) for part in branch] for branch in item.branches]
        return {"parallel": branches, "mix": as_section(item.mix), "label": item.label}
    if isinstance(item, Sidechain):
        return {"sidechain": [as_section(part) for part in item.line], "label": item.label}
    return {"label": item.label, "controller": {"reads": item.controller.reads}}


def problems(sections: Sequence[Mapping[str, Any]], key_input: bool) -> Iterator[Problem]:
    """What is wrong with a list of sections, from the first on, and where.

    A label can be read by the controllers of what comes after it in the file, so that nothing waits for itself.

    Args:
        sections: of processors, checked for themselves.
        key_input: whether there is a second channel to read.
    """
    names = _Names(dict(_labels(sections, ())), key_input)
    yield from names.line(sections, ())
    for label, path in names.sidechains.items():
        if label not in names.read:
            yield path, f"no controller reads '{label}'. Write `reads: {label}`, or take the side-chain out."


class _Names:
    def __init__(self, labels: dict[str, Path], key_input: bool) -> None:
        self.labels = labels
        self.key_input = key_input
        self.known: list[str] = []
        self.read: set[str] = set()
        self.sidechains: dict[str, Path] = {}

    def line(self, sections: Sequence[Mapping[str, Any]], path: Path) -> Iterator[Problem]:
        for i, section in enumerate(sections):
            yield from self.item(section, (*path, i))

    def item(self, section: Mapping[str, Any], path: Path) -> Iterator[Problem]:
        if "parallel" in section:
            yield from self.parallel(section, path)
        elif "sidechain" in section:
            if not section["sidechain"]:
                yield (*path, "sidechain"), "a side-chain has at least one processor."
            if not section["label"]:
                yield path, "a side-chain needs a label, by which a controller reads it."
            yield from self.line(section["sidechain"], (*path, "sidechain"))
            self.sidechains[section["label"]] = path
        else:
            yield from self.reader(section.get("controller"), (*path, "controller"))
        if label := section.get("label"):
            yield from self.labelled(label, (*path, "label"))

    def parallel(self, section: Mapping[str, Any], path: Path) -> Iterator[Problem]:
        branches = section["parallel"]
        if len(branches) < 2 or not any(branches):
            yield (
                (*path, "parallel"),
                "parallel has at least two branches, a list of processors each, and at least one of them has a "
                "processor. An empty list [] passes its input on.",
            )
        for b, branch in enumerate(branches):
            yield from self.line(branch, (*path, "parallel", b))
        yield from self.reader((section.get("mix") or {}).get("controller"), (*path, "mix", "controller"))

    def labelled(self, label: str, path: Path) -> Iterator[Problem]:
        if label in READS:
            yield path, f"'{label}' means something else where a controller reads. Choose another label."
        if label in self.known:
            yield path, f"there are two with the label '{label}'."
        self.known.append(label)

    def reader(self, controller: Mapping[str, Any] | None, path: Path) -> Iterator[Problem]:
        reads = (controller or {}).get("reads", "chain")
        self.read.add(reads)
        if reads in ("chain", "processor", *self.known) or (reads == "key" and self.key_input):
            return
        path = (*path, "reads")
        if reads == "key":
            yield path, "the model has no second channel to read. Write `key_input: true`."
        elif reads in self.labels:
            yield (
                path,
                f"'{reads}' comes out only after its processor has run, so it would wait for itself. Label something "
                "before it.",
            )
        else:
            known = ["chain", "processor", *self.known]
            hint = did_you_mean(reads, known)
            yield path, f"there is nothing labelled '{reads}' to read.{hint} It can read {', '.join(known)}."


def _labels(sections: Sequence[Mapping[str, Any]], path: Path) -> Iterator[tuple[str, Path]]:
    for i, section in enumerate(sections):
        for branch in (*section.get("parallel", ()), section.get("sidechain", ())):
            yield from _labels(branch, (*path, i))
        if section.get("label"):
            yield section["label"], (*path, i)
