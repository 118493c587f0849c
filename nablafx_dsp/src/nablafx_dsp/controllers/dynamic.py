"""Controllers that depend on the audio, block by block."""

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
    """u_b = sigmoid(LSTM(max over block b of |audio|)), one step per block of samples (Comunità et al., 2025).

    The LSTM has a memory, so that a step depends on all blocks before too. With look-ahead, step u_b is that of the
    equation, which waits for the end of block b. Without, it depends on block b - 1 instead of b, and that of the first
    block on silence. Held parameters are constant over a block. Linear parameters move from the step before to the
    block's own step, which they reach at its last sample; in the first block they are constant. The first block begins
    with the file, and silence is assumed after its end.

    State: that of `nablafx_core.nn.block_recurrence.BlockRecurrence`, and ``past``, the last steps, two at most,
    (batch, num_parameters, steps).

    Args:
        num_parameters: number of the processor's parameters, and of the LSTM's units.
        num_controls: number of the model's controls, which are ignored.
        block_size: number of samples of a block.
        num_layers: number of layers of the LSTM.
        lookahead: if true, a block's parameters depend on the block itself, with a latency of block_size - 1 samples;
            otherwise on the block before, without latency.
        interpolation: ``held`` for parameters that are constant over a block, or ``linear`` for ramps between steps.
        reads: audio that is analysed: ``chain`` for the input of the chain, ``processor`` for the input of the
            controlled processor, or the label of an earlier part of the chain.

    Raises:
        ConfigError: if `block_size` is below 1 or the interpolation is unknown.
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
        name = "dynamic_cond" if self.follows_controls else "dynamic"
        if block_size < 1:
            raise ConfigError(f"{name}: block_size must be 1 or more, got {block_size}.")
        if interpolation not in ("held", "linear"):
            raise ConfigError(f"{name}: unknown interpolation '{interpolation}'; expected held or linear.")
        if self.follows_controls and num_controls == 0:
            raise ModelError(
                "controller 'dynamic_cond' depends on the controls, and this model has none. Use 'dynamic', or give "
                "the model controls."
            )
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
        """Return the peak max |audio| of each block, (batch, 1, blocks), and the signal unchanged."""
        return super().pool(signal.abs())[0], signal

    def adapt(self, sequence: Tensor) -> Tensor:
        """Map the LSTM's output to parameters in [0, 1] by a sigmoid."""
        return sequence.sigmoid()

    def initial_state(self, batch_size: int, controls: Tensor | None = None) -> State:
        """Return the state before the first sample of a file; it does not depend on the controls."""
        state = super().initial_state(batch_size)
        return state | {"past": state["cell"].new_zeros(batch_size, self.num_parameters, 0)}

    def forward(
        self, audio: Tensor, controls: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor | Steps, State]:
        """Return the parameters in [0, 1], one vector per block or per sample, and the state after the audio.

        Args:
            audio: (batch, 1, time).
            controls: (batch, num_controls) or (batch, num_controls, time); ignored unless the class follows controls.
            state: state after the previous audio. None for a whole file: silence after it, and parameters without
                delay.

        Returns:
            `Steps` of (batch, num_parameters, blocks) if held, (batch, num_parameters, time) if linear; and the state
            after the audio. With a given state, the parameters lag by `latency` samples. Those for the time before the
            file are the first step's, or 0.5 as long as the first block is incomplete.
        """
        before = self.initial_state(audio.shape[0]) if state is None else state
        past = before["past"]
        if before["block"].shape[-1] and not self.lookahead:
            past = past[..., :-1]  # the current step is among the following ones
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
            return _last_steps(taken, steps, time, 0), after
        return _ramps(_last_steps(taken, steps, time, 1), time), after


class DynamicConditional(Dynamic):
    """u_b = sigmoid(LSTM(max over block b of |audio|, controls at the block's first sample)); otherwise like `Dynamic`.

    Args:
        num_controls: number of the model's controls, 1 or more.

    Raises:
        ConfigError: if `block_size` is below 1 or the interpolation is unknown.
        ModelError: if the model has no controls.
    """

    follows_controls = True


def _last_steps(taken: Tensor, steps: Steps, time: int, further: int) -> Steps:
    """Return the last steps of `taken`: as many as `time` samples overlap, and `further` ones before; none for time 0.

    Steps that are missing, because a stream with look-ahead begins before the file, are copies of the first step, or
    0.5 if there is none yet.

    Args:
        taken: steps so far, (batch, num_parameters, blocks).
        steps: block size of the result, and number of samples of the last block that come after the audio.
        time: number of samples.
        further: number of steps before the first sample's.
    """
    count = (time + steps.skip - 1) // steps.block_size + 1 + further if time else 0
    missing = count - taken.shape[-1]
    if missing > 0:
        first = taken[..., :1] if taken.shape[-1] else taken.new_full((*taken.shape[:2], 1), 0.5)
        taken = torch.cat((first.expand(-1, -1, missing), taken), dim=-1)
    return steps._replace(values=taken[..., taken.shape[-1] - count :])


def _ramps(steps: Steps, time: int) -> Tensor:
    """Interpolate steps linearly, (batch, num_parameters, time); each is reached at the last sample of its block.

    The first of the steps belongs to the block before the first sample.
    """
    start, end = steps.values[..., :-1, None], steps.values[..., 1:, None]
    part = torch.arange(1, steps.block_size + 1, dtype=start.dtype, device=start.device) / steps.block_size
    lines = (start + (end - start) * part).flatten(-2)
    stop = lines.shape[-1] - steps.skip
    return lines[..., stop - time : stop] if time else lines
