"""A condition that listens to the model's input, block by block, once for all layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nablafx_core.errors import ModelError
from nablafx_core.nn.block_recurrence import BlockRecurrence
from nablafx_core.state import State
from nablafx_core.steps import BlockStep, Steps
from nablafx_models.conditioning.film import begin_at_identity
from nablafx_models.conditioning.interface import AffineModulation, Condition, Conditioner


class AudioConditioner(BlockRecurrence, Conditioner):
    """c_b = LSTM(max over block b of |audio|, controls), a vector per block of samples.

    With look-ahead a block of audio is held back until it is complete.

    Args:
        num_controls: of the model.
        condition_size: channels of the condition.
        block_size: samples of a block, counted from where the audio begins.
        lookahead: a block's condition comes from the block itself; otherwise from the one before.
        num_layers: of the LSTM.
    """

    steady = False

    def __init__(
        self,
        num_controls: int,
        condition_size: int = 32,
        block_size: int = 128,
        lookahead: bool = True,
        num_layers: int = 1,
    ) -> None:
        super().__init__(
            1, num_controls, condition_size, num_layers=num_layers, block_size=block_size, lookahead=lookahead
        )
        self.condition_size = condition_size

    def pool(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        """Peaks."""
        return super().pool(signal.abs())[0], signal

    def forward(
        self, audio: Tensor, controls: Tensor | None, state: State, final: bool = False
    ) -> tuple[Tensor, Condition, State]:
        """Audio (batch, 1, time) that can be processed by now, and its steps; see `Conditioner`."""
        return self.advance(audio, controls, state, final)


class TVFiLM(AffineModulation):
    """y = g x + b per channel, [g, b] = Conv1d(condition), a step per block (Comunità et al., 2025, arXiv:2502.11668).

    Args:
        channels: of the features.
        condition_size: channels of the condition.
        block_size: samples of a block.
    """

    steady = False

    def __init__(self, channels: int, condition_size: int, block_size: int = 128) -> None:
        super().__init__()
        self.samples_per_step = block_size
        self.adaptor = nn.Conv1d(condition_size, 2 * channels, 1)
        begin_at_identity(self.adaptor)

    def affine(
        self,
        features: Tensor,
        condition: Condition,
        state: State,
        final: bool = False,
        *,
        whole: bool = False,
        maxima: Tensor | None = None,
    ) -> BlockStep:
        """Steps that end where the features end; no state."""
        if not isinstance(condition, Steps):
            raise ModelError("tvfilm needs a condition per block.")
        return BlockStep(features, condition._replace(values=self.adaptor(condition.values)), {})


class EndAligned(nn.Module):
    """Return steps as NablAFx 1.0 passes them to layers with shorter sequences: the last ones, on each layer's grid.

    Layer n, whose sequence begins O_n samples after the audio and has a grid of blocks of its own, uses in its block b
    the step b + s_n, where s_n aligns the last block of the layer with the last step. That is the condition of a time
    shifted by d_n = s_n block_size - O_n samples, -block_size < d_n < block_size, which depends on the total length; a
    stream is that of a length that is a multiple of the block. Audio is held back further by the largest d_n.

    Args:
        offsets: O_n of each layer, increasing; the last one is that of the whole model.
        block_size: samples.
    """

    def __init__(self, offsets: list[int], block_size: int) -> None:
        super().__init__()
        self.offsets = offsets
        self.block_size = block_size

    def shifts(self, time: int = 0) -> list[int]:
        """d_n of each layer for a total of `time` samples."""
        total = time + self.offsets[-1]
        return [
            (-(-total // self.block_size) - -(-(total - offset) // self.block_size)) * self.block_size - offset
            for offset in self.offsets
        ]

    def initial_state(self, batch_size: int, like: Tensor, channels: int) -> State:
        """Before the first sample: ``held`` audio and past ``steps``."""
        return {"held": like.new_zeros(batch_size, 1, 0), "steps": like.new_zeros(batch_size, channels, 0)}

    def forward(
        self, audio: Tensor, steps: Steps, state: State, shifts: list[int], final: bool = False
    ) -> tuple[Tensor, list[Steps], State]:
        """Audio that every layer has steps for, and the steps of each layer."""
        largest, size = max(0, *shifts), self.block_size
        audio = torch.cat((state["held"], audio), dim=-1)
        values = torch.cat((state["steps"], steps.values), dim=-1)
        held = 0 if final else min(largest, audio.shape[-1])
        kept = min(-(-(largest - min(shifts)) // size), values.shape[-1])
        after = {
            "held": audio[..., audio.shape[-1] - held :],
            "steps": values[..., values.shape[-1] - kept :],
        }
        lead = steps.skip if final else largest
        # At the end of a stream whose length is no multiple of the block, the nearest grid that fits.
        own = [Steps(values, (lead - shift) % size if final else lead - shift, size) for shift in shifts]
        return audio[..., : audio.shape[-1] - held], own, after
