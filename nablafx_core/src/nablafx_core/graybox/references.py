"""Check the labels of a chain and the references of its controllers to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nablafx_core.graybox.topology import Item, Parallel, Sidechain
from nablafx_core.hints import did_you_mean

Path = tuple[str | int, ...]
Problem = tuple[Path, str]

#: Names that a controller can read without a label.
READS = ("chain", "processor", "key")


def as_section(item: Item) -> dict[str, Any]:
    """Describe a built item as a section for `problems`: its structure, its label, and what its controllers read."""
    if isinstance(item, Parallel):
        branches = [[as_section(part) for part in branch] for branch in item.branches]
        return {"parallel": branches, "mix": as_section(item.mix), "label": item.label}
    if isinstance(item, Sidechain):
        return {"sidechain": [as_section(part) for part in item.line], "label": item.label}
    return {"label": item.label, "controller": {"reads": item.controller.reads}}


def problems(sections: Sequence[Mapping[str, Any]], key_input: bool) -> Iterator[Problem]:
    """Report the problems in the structure, the labels and the references of a list of sections.

    A label can be read only by controllers that come after it in the file, so that no stage waits for itself.
    Problems are in the order of the sections; side-chains that no controller reads come last.

    Args:
        sections: sections of the chain, whose settings are already checked one by one.
        key_input: true if the model has a second channel that controllers can read.

    Yields:
        Path of the problem from the list of sections, such as ``(2, "controller", "reads")``, and the message.
    """
    names = _Names(dict(_labels(sections, ())), key_input)
    yield from names.line(sections, ())
    for label, path in names.sidechains.items():
        if label not in names.read:
            yield path, f"no controller reads '{label}'. Add `reads: {label}` to one, or remove the side-chain."


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
                yield (*path, "sidechain"), "a side-chain must have at least one processor."
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
                "parallel must have at least two branches, each a list of processors, and a processor in at least one "
                "of them. An empty list [] passes its input unchanged.",
            )
        for b, branch in enumerate(branches):
            yield from self.line(branch, (*path, "parallel", b))
        yield from self.reader((section.get("mix") or {}).get("controller"), (*path, "mix", "controller"))

    def labelled(self, label: str, path: Path) -> Iterator[Problem]:
        if label in READS:
            yield path, f"'{label}' has another meaning in `reads`. Choose another label."
        if label in self.known:
            yield path, f"the label '{label}' is used twice. Choose another one."
        self.known.append(label)

    def reader(self, controller: Mapping[str, Any] | None, path: Path) -> Iterator[Problem]:
        reads = (controller or {}).get("reads", "chain")
        self.read.add(reads)
        if reads in ("chain", "processor", *self.known) or (reads == "key" and self.key_input):
            return
        path = (*path, "reads")
        if reads == "key":
            yield path, "the model has no second channel to read. Set `key_input: true`."
        elif reads in self.labels:
            yield (
                path,
                f"the output '{reads}' is not available before this controller runs. Read a label that comes before "
                "this item.",
            )
        else:
            known = ["chain", "processor", *self.known]
            hint = did_you_mean(reads, known)
            yield path, f"nothing before it has the label '{reads}'.{hint} It can read {', '.join(known)}."


def _labels(sections: Sequence[Mapping[str, Any]], path: Path) -> Iterator[tuple[str, Path]]:
    for i, section in enumerate(sections):
        for branch in (*section.get("parallel", ()), section.get("sidechain", ())):
            yield from _labels(branch, (*path, i))
        if section.get("label"):
            yield section["label"], (*path, i)
