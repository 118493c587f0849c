"""Time-varying FiLM: a modulation that follows the input of the model, block by block."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nablafx_core.errors import ModelError
from nablafx_core.state import State
from nablafx_core.steps import BlockStep, Steps
from nablafx_models.conditioning.audio_conditioner import audio_conditioner
from nablafx_models.conditioning.interface import AffineModulation, Conditioning, LayerInput, initialize_to_identity

_SIZE = 32  # as in NablAFx 1.0


class TVFiLM(AffineModulation):
    """y = g x + b per channel, [g, b] = Conv1d(condition) with one tap, with one step per block.

    From NablAFx (Comunità et al., 2025, arXiv:2502.11668).

    Args:
        channels: channels of the features.
        condition_size: channels of the condition.
        block_size: samples of a block of the condition, declared as `samples_per_step`.
    """

    steady = False

    def __init__(self, channels: int, condition_size: int, block_size: int = 128) -> None:
        super().__init__()
        self.samples_per_step = block_size
        self.adaptor = nn.Conv1d(condition_size, 2 * channels, 1)
        initialize_to_identity(self.adaptor)

    def scale_and_shift(self, given: LayerInput) -> BlockStep:
        """Return the features, one scale and one shift per channel for each step of the condition, and an empty state.

        The last step of the condition is that of the last feature.

        Raises:
            ModelError: if the condition is not steps.
        """
        if not isinstance(given.condition, Steps):
            raise ModelError(
                f"TVFiLM: expected a condition with one step per block, got {type(given.condition).__name__}."
            )
        return BlockStep(given.features, given.condition._replace(values=self.adaptor(given.condition.values)), {})


class EndAligned(nn.Module):
    """Assign steps to the blocks of layers as NablAFx 1.0 does: the last step goes to the last block of each layer.

    The features of layer n begin O_n samples after the audio, and the layer has its own grid of blocks. In its block b
    it uses step b + s_n, where s_n aligns its last block with the last step. This shifts the condition in time by
    d_n = s_n block_size - O_n samples, -block_size < d_n < block_size, which depends on the total length. A stream uses
    the shifts of a length that is a multiple of the block. Audio is held back by the largest d_n, if it is above 0, in
    addition to what the conditioner holds back.

    Args:
        offsets: O_n of each layer, increasing; the last one is that of the whole model.
        block_size: samples of a block.
    """

    def __init__(self, offsets: list[int], block_size: int) -> None:
        super().__init__()
        self.offsets = offsets
        self.block_size = block_size

    def shifts(self, time: int = 0) -> list[int]:
        """Return d_n of each layer, in samples, for a file of `time` samples; a stream passes `time` 0."""
        total = time + self.offsets[-1]
        return [
            (-(-total // self.block_size) - -(-(total - offset) // self.block_size)) * self.block_size - offset
            for offset in self.offsets
        ]

    def initial_state(self, batch_size: int, like: Tensor, channels: int) -> State:
        """Return the state before the first sample: ``held`` audio and past ``steps``, both of length 0.

        Args:
            batch_size: number of items.
            like: a tensor with the dtype and device to use.
            channels: channels of the condition.
        """
        return {"held": like.new_zeros(batch_size, 1, 0), "steps": like.new_zeros(batch_size, channels, 0)}

    def forward(
        self, audio: Tensor, steps: Steps, state: State, shifts: list[int], final: bool = False
    ) -> tuple[Tensor, list[Steps], State]:
        """Return the audio for which every layer has steps, the steps of each layer, and the next state.

        Args:
            audio: (batch, 1, time), new audio from the conditioner.
            steps: condition of this audio.
            state: from `initial_state` or the call before.
            shifts: from `shifts`.
            final: True if no audio follows.
        """
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
        # If the length of a stream is not a multiple of the block, use the nearest grid that fits.
        own = [Steps(values, (lead - shift) % size if final else lead - shift, size) for shift in shifts]
        return audio[..., : audio.shape[-1] - held], own, after


TVFILM = Conditioning(
    "scales and shifts every layer by one LSTM of the controls and of the audio's peaks in blocks of samples",
    conditioner=audio_conditioner(_SIZE),
    modulation=lambda layer: TVFiLM(layer.channels, layer.condition_size, layer.blocks.block_size),
    condition_size=_SIZE,
    allows_end_alignment=True,
)
