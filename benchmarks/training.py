"""Training steps on the CPU, each against a baseline in the same process.

    python benchmarks/training.py
    python benchmarks/training.py --only tcn-45-s --only gcn-45-s --repeats 15

A step is forward and backward of a whole model under the mean-square loss, in float32 on one thread; the
LSTM processes the signal in chunks of 4,800 samples, with the state detached in between. `ratios.py` explains the
comparison. To add a row, add a function to ROWS.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import torch
from ratios import Row, compare, parser_for

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from nablafx_models.gcn import GCN
from nablafx_models.lstm import LSTM
from nablafx_models.s4 import S4
from nablafx_models.tcn import TCN
from reference import nablafx01

#: Samples between two steps of truncated backpropagation through time.
CHUNK = 4800
#: Forward and backward, from the audio and the target.
Step = Callable[[torch.Tensor, torch.Tensor], None]


class Steps(NamedTuple):
    """Steps of a `Row`, before the signals exist. Gradients accumulate, for both sides."""

    model: Step
    baseline: Step
    described: str
    cost: bool = False


def whole(run: Callable[[torch.Tensor], torch.Tensor]) -> Step:
    """Return a step of a function from audio to output."""
    return lambda audio, target: (run(audio) - target).square().mean().backward()


def model_step(model: torch.nn.Module) -> Step:
    return whole(lambda audio: model(audio)[0])


def chunked(model: torch.nn.Module, kernels: str, audio: torch.Tensor, target: torch.Tensor) -> None:
    """Run truncated backpropagation through time; `kernels` is the value of NABLAFX_KERNELS."""
    state = model.initial_state(audio.shape[0])
    with mock.patch.dict(os.environ, NABLAFX_KERNELS=kernels):
        for dry, wet in zip(audio.split(CHUNK, -1), target.split(CHUNK, -1), strict=True):
            out, state = model(dry, None, state)
            (out - wet).square().mean().backward()
            state = {key: value.detach() for key, value in state.items()}


def convolutional(make: Callable[..., torch.nn.Module], reference: Callable[..., torch.Tensor]) -> Steps:
    """Process the whole padded file by torch's convolutions, layer by layer, with the same weights."""
    model = make(residual_delay=1)
    kept = {"num_blocks": 5, "kernel_size": 7, "dilation_growth": 4, "stack_size": 12, "causal": True}
    kept |= {"residual": True, "direct_path": False, "cond_type": None}
    weights = dict(model.named_parameters())
    baseline = whole(lambda audio: reference(kept, weights, audio, None))
    return Steps(model_step(model), baseline, "the same layers on torch's conv1d")


def conditioned(make: Callable[..., torch.nn.Module], name: str) -> Steps:
    plain, model = make(), make(conditioning=name)
    return Steps(model_step(model), model_step(plain), "the same model with conditioning none", cost=True)


def state_spaces(num_blocks: int, num_states: int) -> Steps:
    """Compute each layer by the length-T Vandermonde product and the FFT, without the unneeded pre-roll."""
    model, slow = (S4(num_blocks=num_blocks, num_states=num_states, pre_roll=0) for _ in range(2))
    for block in slow.blocks:
        block.s4.forward = partial(_textbook, block.s4)
    slow.load_state_dict(model.state_dict())
    return Steps(model_step(model), model_step(slow), "the same network by Vandermonde product and FFT")


def _textbook(layer, u, state):
    return nablafx01.state_space(dict(layer.named_parameters()), "", u), state


def recurrent(hidden_size: int) -> Steps:
    model = LSTM(hidden_size=hidden_size, pre_roll=0)
    return Steps(partial(chunked, model, "auto"), partial(chunked, model, "torch"), "the same model on torch.nn.LSTM")


ROWS: dict[str, Callable[[], Steps]] = {
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


def main() -> None:
    parser = parser_for(ROWS, __doc__)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--samples", type=int, default=65536)
    options = parser.parse_args()

    def with_signals(make: Callable[[], Steps]) -> Row:
        signals = 0.3 * torch.randn(2, options.batch, 1, options.samples)
        model, baseline, *others = make()
        return Row(partial(model, *signals), partial(baseline, *signals), *others)

    compare({name: partial(with_signals, make) for name, make in ROWS.items()}, options)


if __name__ == "__main__":
    main()
