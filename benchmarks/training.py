"""Training steps on the CPU, each against a baseline in the same process.

    python benchmarks/training.py
    python benchmarks/training.py --only tcn-45-s --only gcn-45-s --repeats 15

A step is forward and backward of a whole model under the mean-square loss, in float32 on one thread. A repeat runs
the baseline and the model one after the other, and the ratio of each repeat is what counts: its median, with the
quartiles beside it. The first step of each, which compiles, is left out. To add a row, add a function to ROWS.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from nablafx_core.kernels.choice import VARIABLE
from nablafx_models.gcn import GCN
from nablafx_models.s4 import S4
from nablafx_models.tcn import TCN
from reference.nablafx01 import state_space


class Row(NamedTuple):
    """Two models to compare.

    Args:
        model: that is measured.
        baseline: that it is measured against.
        described: the baseline in words.
        kernels: what `VARIABLE` is for the baseline.
        cost: the ratio is the model's time over the baseline's, where it is to be small; otherwise the other way round.
    """

    model: torch.nn.Module
    baseline: torch.nn.Module
    described: str
    kernels: str = "auto"
    cost: bool = False


def convolutional(make: Callable[[], torch.nn.Module]) -> Row:
    """The same weights with torch's own convolutions, activations and residuals."""
    model = make()
    return Row(model, model, "the same model on torch.nn.Conv1d", kernels="torch")


def conditioned(name: str) -> Row:
    return Row(TCN(conditioning=name), TCN(), "the same model with conditioning none", cost=True)


def state_spaces(num_blocks: int, num_states: int) -> Row:
    """The length-T Vandermonde product and the FFT in the place of each layer; no pre-roll, which neither needs."""
    model, slow = (S4(num_blocks=num_blocks, num_states=num_states, pre_roll=0) for _ in range(2))
    for block in slow.blocks:
        block.s4.forward = partial(_textbook, block.s4)
    slow.load_state_dict(model.state_dict())
    return Row(model, slow, "the same network by Vandermonde product and FFT")


def _textbook(layer, u, state):
    return state_space(dict(layer.named_parameters()), "", u), state


ROWS: dict[str, Callable[[], Row]] = {
    "tcn-45-s": partial(convolutional, TCN),
    "gcn-45-s": partial(convolutional, GCN),
    "tcn-45-s-tfilm": partial(conditioned, "tfilm"),
    "tcn-45-s-ttfilm": partial(conditioned, "ttfilm"),
    "tcn-45-s-tvfilm": partial(conditioned, "tvfilm"),
    "s4-b4-s4-c16": partial(state_spaces, 4, 4),
    "s4-b8-s32-c16": partial(state_spaces, 8, 32),
}


def seconds(model: torch.nn.Module, kernels: str, audio: torch.Tensor, target: torch.Tensor) -> float:
    """Wall-clock time of one step."""
    os.environ[VARIABLE] = kernels
    model.zero_grad()
    began = time.perf_counter()
    (model(audio)[0] - target).square().mean().backward()
    return time.perf_counter() - began


def measured(row: Row, repeats: int, audio: torch.Tensor, target: torch.Tensor) -> tuple[list[float], list[float]]:
    """Times of the model and of the baseline."""
    times: tuple[list[float], list[float]] = ([], [])
    for repeat in range(repeats + 1):
        for taken, (model, kernels) in zip(times, ((row.model, "auto"), (row.baseline, row.kernels)), strict=True):
            spent = seconds(model, kernels, audio, target)
            if repeat:
                taken.append(spent)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=list(ROWS), help="a row; may be given several times")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--samples", type=int, default=65536)
    options = parser.parse_args()
    if options.repeats < 2:
        parser.error("quartiles need --repeats 2 or more")
    torch.set_num_threads(1)
    print(f"{'ROW':<17}{'MODEL':>9}{'BASELINE':>10}{'RATIO':>7}  {'QUARTILES':<14}RATIO IS")  # noqa: T201
    for name in options.only or ROWS:
        torch.manual_seed(0)
        audio, target = 0.3 * torch.randn(2, options.batch, 1, options.samples)
        row = ROWS[name]()
        own, others = measured(row, options.repeats, audio, target)
        ratios = [a / b if row.cost else b / a for a, b in zip(own, others, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
        spread = f"{low:.2f} to {high:.2f}"
        meaning = "times the time of" if row.cost else "times as fast as"
        print(  # noqa: T201
            f"{name:<17}{1000 * statistics.median(own):>6.0f} ms{1000 * statistics.median(others):>7.0f} ms"
            f"{middle:>7.2f}  {spread:<14}{meaning} {row.described}",
            flush=True,
        )


if __name__ == "__main__":
    main()
