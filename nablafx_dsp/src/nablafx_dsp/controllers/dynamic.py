"""Controllers that listen to the audio, block by block."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor

from nablafx_core.errors import ConfigError, ModelError
from nablafx_core.interfaces import Controller
from nablafx_core.marks import Range
from nablafx_core.nn.block_recurrence import BlockRecurrence
from nablafx_core.state import State
from nablafx_core.steps import Steps


class Dynamic(BlockRecurrence, Controller):
    """u_b = sigmoid(LSTM(max over block b of |audio|)), a step per block of samples (Comunità et al., 2025).

    With look-ahead a block's parameters come from the block itself, and wait for its end; without, from the block
    before (the first one's from silence). Held, parameters stand still for a block; linear, they move over a block in a
    line from the step before, which they leave, to the block's own, which they reach at its last sample (the first
    block holds its own). The blocks begin with the file, whose end counts as if silence followed.

    State: that of `BlockRecurrence`, and ``past``, at most two steps that were taken.

    Args:
        num_parameters: of the processor; the LSTM's units.
        num_controls: knobs of the model, to which it does not listen.
        block_size: samples of a block.
        num_layers: of the LSTM.
        lookahead: whether a block is used for itself, with a latency of block_size - 1; without, there is none.
        interpolation: between the steps.
        reads: the audio that it listens to: that of the chain, that of its processor, or what has this label.

    Raises:
        ConfigError: if the block is empty or there is no such interpolation.
    """

    follows_controls = False

    def __init__(
        self,
        num_parameters: int,
        num_controls: int = 0,
        block_size: Annotated[int, Range(1, 65_536)] = 128,
        num_layers: Annotated[int, Range(1, 16)] = 1,
        lookahead: bool = True,
        interpolation: Literal["held", "linear"] = "held",
        reads: str = "chain",
    ) -> None:
        if block_size < 1:
            raise ConfigError(f"dynamic: a block has at least 1 sample, not {block_size}.")
        if interpolation not in ("held", "linear"):
            raise ConfigError(f"dynamic: there is no interpolation '{interpolation}'. There are 'held' and 'linear'.")
        if self.follows_controls and num_controls == 0:
            raise ModelError("controller 'dynamic_cond' follows the knobs, and this model has none. Use 'dynamic'.")
        super().__init__(
            1,
            num_controls if self.follows_controls else 0,
            num_parameters,
            num_layers=num_layers,
            block_size=block_size,
            lookahead=lookahead,
            num_parameters=num_parameters,
        )
        self.interpolation = interpolation
        self.reads = reads
        self.latency = self.grid - 1

    def pool(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        """Peaks."""
        return super().pool(signal.abs())[0], signal

    def adapt(self, sequence: Tensor) -> Tensor:
        """To [0, 1]."""
        return sequence.sigmoid()

    def initial_state(self, batch_size: int, controls: Tensor | None = None) -> State:
        """Before the first sample."""
        state = super().initial_state(batch_size)
        return state | {"past": state["cell"].new_zeros(batch_size, self.num_parameters, 0)}

    def forward(
        self, audio: Tensor, controls: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor | Steps, State]:
        """Parameters in [0, 1]: `Steps` of (batch, num_parameters, blocks), or linear (batch, num_parameters, time)."""
        before = self.initial_state(audio.shape[0]) if state is None else state
        past = before["past"]
        if before["block"].shape[-1] and not self.lookahead:
            past = past[..., :-1]  # the step in use is among those that follow
        _, steps, after = self.advance(audio, controls, before)
        taken, begun = torch.cat((past, steps.values), dim=-1), after["block"].shape[-1]
        after["past"] = taken[..., -2:]
        if self.lookahead and state is None:
            rest = None if controls is None else controls[..., :0] if controls.ndim == 3 else controls
            _, steps, _ = self.advance(audio[..., :0], rest, after, final=True)
            taken = torch.cat((taken, steps.values), dim=-1)
        elif self.lookahead:
            steps = steps._replace(skip=self.latency - begun)
        time = audio.shape[-1]
        if self.interpolation == "held":
            return _reaching_back(taken, steps, time, 0), after
        return _ramps(_reaching_back(taken, steps, time, 1), time), after


class DynamicConditional(Dynamic):
    """u_b = sigmoid(LSTM(max over block b of |audio|, knobs at the block's first sample)); otherwise as `Dynamic`.

    Args:
        num_controls: knobs of the model.

    Raises:
        ModelError: if the model has no knobs.
    """

    follows_controls = True


def _reaching_back(taken: Tensor, steps: Steps, time: int, further: int) -> Steps:
    """The last steps taken, as many as `time` samples touch and `further` ones before.

    What a stream gives before its file begins is the first step, or 0.5 where none was taken yet.
    """
    count = (time + steps.skip - 1) // steps.block_size + 1 + further if time else 0
    missing = count - taken.shape[-1]
    if missing > 0:
        first = taken[..., :1] if taken.shape[-1] else taken.new_full((*taken.shape[:2], 1), 0.5)
        taken = torch.cat((first.expand(-1, -1, missing), taken), dim=-1)
    return steps._replace(values=taken[..., taken.shape[-1] - count :])


def _ramps(steps: Steps, time: int) -> Tensor:
    """Lines from each step to the next, (batch, n, time); each step is reached at the last sample of its block."""
    start, end = steps.values[..., :-1, None], steps.values[..., 1:, None]
    part = torch.arange(1, steps.block_size + 1, dtype=start.dtype, device=start.device) / steps.block_size
    lines = (start + (end - start) * part).flatten(-2)
    stop = lines.shape[-1] - steps.skip
    return lines[..., stop - time : stop] if time else lines
