"""Training steps on the CPU, each against a baseline in the same process.

    python benchmarks/training.py
    python benchmarks/training.py --only tcn-45-s --only gcn-45-s --repeats 15

A step is forward and backward of a whole model under the mean-square loss, in float32 on one thread; those of the
LSTM go through the signal in chunks of 4,800 samples, with the state detached in between. A repeat runs the baseline
and the model one after the other, and the ratio of each repeat is what counts: its median, with the quartiles beside
it. Freed memory is kept for the next step, as `nablafx train` does, for both alike. The first step of each, which
compiles, is left out. To add a row, add a function to ROWS.
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
from unittest import mock

import torch

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from nablafx_core.training.memory import keep_freed_memory
from nablafx_models.gcn import GCN
from nablafx_models.lstm import LSTM
from nablafx_models.s4 import S4
from nablafx_models.tcn import TCN
from reference import nablafx01

#: Samples between two steps of truncated backpropagation through time.
CHUNK = 4800
#: Forward and backward, from the audio and the target.
Step = Callable[[torch.Tensor, torch.Tensor], None]


class Row(NamedTuple):
    """Two steps to compare.

    Args:
        model: that is measured.
        baseline: what it is measured against.
        described: the baseline in words.
        cost: the ratio is the model's time over the baseline's, where it is to be small; otherwise the other way round.
    """

    model: Step
    baseline: Step
    described: str
    cost: bool = False


def whole(run: Callable[[torch.Tensor], torch.Tensor]) -> Step:
    """A step of something from audio to output."""
    return lambda audio, target: (run(audio) - target).square().mean().backward()


def model_step(model: torch.nn.Module) -> Step:
    return whole(lambda audio: model(audio)[0])


def chunked(model: torch.nn.Module, kernels: str, audio: torch.Tensor, target: torch.Tensor) -> None:
    """Truncated backpropagation through time; `kernels` is the value of NABLAFX_KERNELS."""
    state = model.initial_state(audio.shape[0])
    with mock.patch.dict(os.environ, NABLAFX_KERNELS=kernels):
        for dry, wet in zip(audio.split(CHUNK, -1), target.split(CHUNK, -1), strict=True):
            out, state = model(dry, None, state)
            (out - wet).square().mean().backward()
            state = {key: value.detach() for key, value in state.items()}


def convolutional(make: Callable[..., torch.nn.Module], reference: Callable[..., torch.Tensor]) -> Row:
    """The whole padded file through torch's convolutions, layer by layer, with the same weights."""
    model = make(residual_delay=1)
    kept = {"num_blocks": 5, "kernel_size": 7, "dilation_growth": 4, "stack_size": 12, "causal": True}
    kept |= {"residual": True, "direct_path": False, "cond_type": None}
    weights = dict(model.named_parameters())
    baseline = whole(lambda audio: reference(kept, weights, audio, None))
    return Row(model_step(model), baseline, "the same layers on torch's conv1d")


def conditioned(make: Callable[..., torch.nn.Module], name: str) -> Row:
    plain, model = make(), make(conditioning=name)
    return Row(model_step(model), model_step(plain), "the same model with conditioning none", cost=True)


def state_spaces(num_blocks: int, num_states: int) -> Row:
    """The length-T Vandermonde product and the FFT in the place of each layer; no pre-roll, which neither needs."""
    model, slow = (S4(num_blocks=num_blocks, num_states=num_states, pre_roll=0) for _ in range(2))
    for block in slow.blocks:
        block.s4.forward = partial(_textbook, block.s4)
    slow.load_state_dict(model.state_dict())
    return Row(model_step(model), model_step(slow), "the same network by Vandermonde product and FFT")


def _textbook(layer, u, state):
    return nablafx01.state_space(dict(layer.named_parameters()), "", u), state


def recurrent(hidden_size: int) -> Row:
    model = LSTM(hidden_size=hidden_size, pre_roll=0)
    return Row(partial(chunked, model, "auto"), partial(chunked, model, "torch"), "the same model on torch.nn.LSTM")


ROWS: dict[str, Callable[[], Row]] = {
    "tcn-45-s": partial(convolutional, TCN, nablafx01.tcn),
    "gcn-45-s": partial(convolutional, GCN, nablafx01.gcn),
    "tcn-45-s-tfilm": partial(conditioned, TCN, "tfilm"),
    "tcn-45-s-ttfilm": partial(conditioned, TCN, "ttfilm"),
    "tcn-45-s-tvfilm": partial(conditioned, TCN, "tvfilm"),
    "gcn-45-s-tfilm": partial(conditioned, GCN, "tfilm"),
    "gcn-45-s-ttfilm": partial(conditioned, GCN, "ttfilm"),
    "gcn-45-s-tvfilm": partial(conditioned, GCN, "tvfilm"),
    "s4-b4-s4-c16": partial(state_spaces, 4, 4),
    "s4-b8-s32-c16": partial(state_spaces, 8, 32),
    "lstm-32": partial(recurrent, 32),
    "lstm-96": partial(recurrent, 96),
}


def seconds(step: Step, audio: torch.Tensor, target: torch.Tensor) -> float:
    """Wall-clock time of one step. Gradients add up from step to step, for both sides alike."""
    began = time.perf_counter()
    step(audio, target)
    return time.perf_counter() - began


def measured(row: Row, repeats: int, audio: torch.Tensor, target: torch.Tensor) -> tuple[list[float], list[float]]:
    """Times of the model and of the baseline."""
    times: tuple[list[float], list[float]] = ([], [])
    for repeat in range(repeats + 1):
        for taken, step in zip(times, (row.model, row.baseline), strict=True):
            spent = seconds(step, audio, target)
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
    keep_freed_memory()
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
