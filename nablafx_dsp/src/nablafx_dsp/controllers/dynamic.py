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

    With look-ahead, a block's parameters depend on the block itself, so that they wait for its end. Without, they
    depend on the block before; those of the first block on silence. Held parameters are constant over a block. Linear
    parameters move from the step before to the block's own step, which they reach at its last sample; in the first
    block they are constant. The first block begins with the file, and silence is assumed after its end.

    State: that of `BlockRecurrence`, and ``past``, the last steps, two at most.

    Args:
        num_parameters: number of the processor's parameters, and of the LSTM's units.
        num_controls: number of the model's controls, which are ignored.
        block_size: number of samples of a block.
        num_layers: number of layers of the LSTM.
        lookahead: if true, a block's parameters depend on the block itself, with a latency of block_size - 1 samples.
        interpolation: ``held`` or ``linear``.
        reads: audio that it analyses: that of the chain, that of its processor, or that with this label.

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
        if block_size < 1:
            raise ConfigError(f"dynamic: block_size must be 1 or more, got {block_size}.")
        if interpolation not in ("held", "linear"):
            raise ConfigError(f"dynamic: there is no interpolation '{interpolation}'. Interpolations: held, linear.")
        if self.follows_controls and num_controls == 0:
            raise ModelError(
                "controller 'dynamic_cond' depends on the controls, and this model has none. Use 'dynamic'."
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
        """Return the peak of each block."""
        return super().pool(signal.abs())[0], signal

    def adapt(self, sequence: Tensor) -> Tensor:
        """Map to [0, 1]."""
        return sequence.sigmoid()

    def initial_state(self, batch_size: int, controls: Tensor | None = None) -> State:
        """Return the state before the first sample."""
        state = super().initial_state(batch_size)
        return state | {"past": state["cell"].new_zeros(batch_size, self.num_parameters, 0)}

    def forward(
        self, audio: Tensor, controls: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor | Steps, State]:
        """Return parameters in [0, 1], (batch, num_parameters, time), or as `Steps` (…, blocks) if held."""
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
        num_controls: number of the model's controls.

    Raises:
        ModelError: if the model has no controls.
    """

    follows_controls = True


def _last_steps(taken: Tensor, steps: Steps, time: int, further: int) -> Steps:
    """Return the last steps: as many as `time` samples overlap, and `further` ones before.

    Before the file begins, a stream outputs the first step, or 0.5 if there is none yet.
    """
    count = (time + steps.skip - 1) // steps.block_size + 1 + further if time else 0
    missing = count - taken.shape[-1]
    if missing > 0:
        first = taken[..., :1] if taken.shape[-1] else taken.new_full((*taken.shape[:2], 1), 0.5)
        taken = torch.cat((first.expand(-1, -1, missing), taken), dim=-1)
    return steps._replace(values=taken[..., taken.shape[-1] - count :])


def _ramps(steps: Steps, time: int) -> Tensor:
    """Interpolate linearly, (batch, n, time); each step is reached at the last sample of its block."""
    start, end = steps.values[..., :-1, None], steps.values[..., 1:, None]
    part = torch.arange(1, steps.block_size + 1, dtype=start.dtype, device=start.device) / steps.block_size
    lines = (start + (end - start) * part).flatten(-2)
    stop = lines.shape[-1] - steps.skip
    return lines[..., stop - time : stop] if time else lines
