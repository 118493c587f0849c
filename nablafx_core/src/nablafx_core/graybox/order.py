"""Plan the order in which the stages of a chain run, the source of each one's audio, and its latency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from nablafx_core.graybox.stage import Stage
from nablafx_core.graybox.timing import Lag
from nablafx_core.graybox.topology import Item, Parallel, Sidechain


@dataclass(frozen=True)
class Node:
    """Stage in its place in the chain.

    Args:
        stage: processor with its controller.
        place: index of the item in the chain, such as ``"2"``; in branches and side-chains followed by the branch (0 in
            a side-chain) and the index in it: ``"2/0/1"``. It also names the output of the stage.
        inputs: names of the processor's inputs, several for a mix: places, or ``"chain"``, the input of the chain.
        hears: name of the controller's input: a place, ``"chain"``, or ``"key"``, the second input of the model.
        lag: samples by which the stage runs behind the input of the chain.
    """

    stage: Stage
    place: str
    inputs: tuple[str, ...]
    hears: str
    lag: Lag


@dataclass
class Plan:
    """Nodes in an order in which each comes after the nodes whose output it reads.

    Attributes:
        nodes: a `Node` for each stage, in this order.
        output: name of the signal that the chain outputs: the place of its stage.
        lags: lag of each signal behind the chain's input in samples, by its name.
    """

    nodes: list[Node] = field(default_factory=list)
    output: str = "chain"
    lags: dict[str, int] = field(default_factory=lambda: {"chain": 0, "key": 0})

    @staticmethod
    def of(items: Sequence[Item]) -> Plan:
        """Plan a chain in which `nablafx_core.graybox.references.problems` found no problem."""
        plan, labels = Plan(), {"chain": "chain", "key": "key"}
        plan.output = plan._line(items, "chain", "", labels)
        return plan

    @property
    def latency(self) -> int:
        """Latency of the chain's output in samples."""
        return self.lags[self.output]

    def last_used(self) -> dict[str, list[str]]:
        """Return by place of each node the names of the signals that no later node reads; never the chain's output."""
        users = {name: node.place for node in self.nodes for name in (*node.inputs, node.hears)}
        freed: dict[str, list[str]] = {node.place: [] for node in self.nodes}
        for name, place in users.items():
            if name != self.output:
                freed[place].append(name)
        return freed

    def _line(self, items: Sequence[Item], source: str, before: str, labels: dict[str, str]) -> str:
        """Add a line whose input is `source`; return the name of its output."""
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
