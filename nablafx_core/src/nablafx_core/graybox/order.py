"""The order in which the stages of a chain run, where each takes its audio from, and how late it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from nablafx_core.graybox.stage import Stage
from nablafx_core.graybox.timing import Lag
from nablafx_core.graybox.topology import Item, Parallel, Sidechain


@dataclass(frozen=True)
class Node:
    """A stage in its place.

    Args:
        stage: what runs.
        place: of its item in the chain and, in branches, after slashes the branch and the item in it: ``"2/0/1"``. Its
            output is called by it.
        inputs: what its processor is given, by place, or ``"chain"``.
        hears: what its controller is given.
        lag: how late it is.
    """

    stage: Stage
    place: str
    inputs: tuple[str, ...]
    hears: str
    lag: Lag


@dataclass
class Plan:
    """Nodes in an order in which each comes after what it needs.

    Attributes:
        nodes: the stages.
        output: the place of what comes out.
        lags: of each signal, by place, in samples behind the chain's input.
    """

    nodes: list[Node] = field(default_factory=list)
    output: str = "chain"
    lags: dict[str, int] = field(default_factory=lambda: {"chain": 0, "key": 0})

    @staticmethod
    def of(items: Sequence[Item]) -> Plan:
        """The plan of a chain whose names fit together."""
        plan, labels = Plan(), {"chain": "chain", "key": "key"}
        plan.output = plan._line(items, "chain", "", labels)
        return plan

    @property
    def latency(self) -> int:
        """Samples by which the output is late."""
        return self.lags[self.output]

    def last_used(self) -> dict[str, list[str]]:
        """The signals that nothing needs after each node, by its place."""
        users = {name: node.place for node in self.nodes for name in (*node.inputs, node.hears)}
        freed: dict[str, list[str]] = {node.place: [] for node in self.nodes}
        for name, place in users.items():
            if name != self.output:
                freed[place].append(name)
        return freed

    def _line(self, items: Sequence[Item], source: str, before: str, labels: dict[str, str]) -> str:
        """Add a line that is given `source`; gives the place of its output."""
        for i, item in enumerate(items):
            place = f"{before}{i}"
            if isinstance(item, Sidechain):
                labels[item.label] = self._line(item.line, source, f"{place}/0/", labels)
                continue
            if isinstance(item, Parallel):
                lines = enumerate(item.branches)
                inputs = tuple(self._line(branch, source, f"{place}/{b}/", labels) for b, branch in lines)
                source = self._add(item.mix, place, inputs, source, labels)
            else:
                source = self._add(item, place, (source,), source, labels)
            if item.label:
                labels[item.label] = source
        return source

    def _add(self, stage: Stage, place: str, inputs: tuple[str, ...], own: str, labels: dict[str, str]) -> str:
        reads = stage.controller.reads
        hears = own if reads == "processor" else labels[reads]
        lag = Lag.of(stage, tuple(self.lags[name] for name in inputs), self.lags[hears])
        self.nodes.append(Node(stage, place, inputs, hears, lag))
        self.lags[place] = lag.leaves
        return place
