"""Parts of a chain: stages, parallel branches and side-chains, and the modules that hold their weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nablafx_core.controls import Parameter
from nablafx_core.graybox.stage import Stage, stage_from_section, stage_of
from nablafx_core.interfaces import Controller, Processor
from nablafx_core.state import State


class Mix(Processor):
    """Weighted sum of n branches.

    For two branches, y = (1 - mix) x_0 + mix x_1; otherwise y = sum over b of level_b x_b. Each parameter is in [0, 1].
    Unlike other processors, its input is (batch, n, time).

    Args:
        num_branches: number of branches, n.
        sample_rate: sample rate in Hz.
    """

    def __init__(self, num_branches: int, sample_rate: int = 48000) -> None:
        super().__init__(sample_rate)
        self.num_branches = num_branches
        names = ("mix",) if num_branches == 2 else tuple(f"level_{b}" for b in range(num_branches))
        self.effect_parameters = tuple(Parameter(name) for name in names)

    def macs_per_sample(self) -> float:
        """Return n: one multiply-accumulate per branch."""
        return float(self.num_branches)

    def forward(self, audio: Tensor, parameters: dict[str, Tensor], state: State | None = None) -> tuple[Tensor, State]:
        """Mix the branches (batch, n, time) to (batch, 1, time)."""
        levels = [value.reshape(audio.shape[0], -1) for value in parameters.values()]
        if self.num_branches == 2:
            levels = [1 - levels[0], levels[0]]
        return sum((level * audio[:, b] for b, level in enumerate(levels)), torch.zeros_like(audio[:, 0]))[:, None], {}

    def equal(self) -> dict[str, float]:
        """Return the parameters with which the output is the mean of the branches, by name."""
        return {parameter.name: 1 / self.num_branches for parameter in self.effect_parameters}


@dataclass(frozen=True)
class Parallel:
    """Branches with the same input, whose outputs are mixed.

    Args:
        branches: lines, one per branch; an empty one outputs its input.
        mix: stage with a `Mix` of as many branches.
        label: name of the output, which controllers after it can read.
    """

    branches: tuple[Line, ...]
    mix: Stage
    label: str | None = None


@dataclass(frozen=True)
class Sidechain:
    """Line whose output only controllers read; the audio bypasses it.

    Args:
        line: items of the side-chain.
        label: name under which controllers read the output.
    """

    line: Line
    label: str


Item = Stage | Parallel | Sidechain
Line = tuple[Item, ...]


def item_from_section(section: Item | Mapping[str, Any] | str, sample_rate: int, num_controls: int) -> Item:
    """Build an item of a chain: a processor from its section or name, ``{parallel: …}`` or ``{sidechain: …}``.

    An item that is already built is returned unchanged. Errors are those of `stage_from_section`.
    """
    if isinstance(section, str):
        section = {"name": section}
    if not isinstance(section, Mapping):
        return section
    if "sidechain" in section:
        return Sidechain(_line(section["sidechain"], sample_rate, num_controls), section.get("label") or "")
    if "parallel" not in section:
        return stage_from_section(section, sample_rate, num_controls)
    branches = tuple(_line(branch, sample_rate, num_controls) for branch in section["parallel"])
    settings, mix = dict(section.get("mix") or {}), Mix(len(branches), sample_rate)
    if not settings.get("controller") and not settings.get("fixed"):
        settings["fixed"] = mix.equal()
    return Parallel(branches, stage_of(mix, settings, num_controls), section.get("label"))


def _line(sections: Sequence[Item | Mapping[str, Any] | str], sample_rate: int, num_controls: int) -> Line:
    return tuple(item_from_section(section, sample_rate, num_controls) for section in sections)


class LineModules(nn.Module):
    """Modules of a line, whose weights are named ``processors.{i}.*`` and ``controllers.{i}.*``."""

    def __init__(self, line: Line) -> None:
        super().__init__()
        self.processors = nn.ModuleList(_processor(item) for item in line)
        self.controllers = nn.ModuleList(_controller(item) for item in line)


class BranchModules(nn.Module):
    """Modules of parallel lines, whose weights are named ``branches.{b}.processors.{i}.*``, and their mix.

    A side-chain is a single line without a mix.
    """

    def __init__(self, lines: Sequence[Line], mix: Processor | None = None) -> None:
        super().__init__()
        self.branches = nn.ModuleList(LineModules(line) for line in lines)
        self.mix = mix


def _processor(item: Item) -> nn.Module:
    if isinstance(item, Parallel):
        return BranchModules(item.branches, item.mix.processor)
    return BranchModules([item.line]) if isinstance(item, Sidechain) else item.processor


def _controller(item: Item) -> nn.Module:
    if isinstance(item, Parallel):
        return item.mix.controller
    return Controller(0) if isinstance(item, Sidechain) else item.controller
