"""Append the controls to the audio as input channels."""

from __future__ import annotations

import torch
from torch import Tensor

from nablafx_core.steps import Steps
from nablafx_models.conditioning.interface import Condition, Conditioning, over_time


def append_condition(audio: Tensor, condition: Condition) -> Tensor:
    """Return audio (batch, channels, time) with the condition as channels after its own; the audio itself for None.

    A condition (batch, size), or one with a step per block, is repeated over the samples that it holds for.
    """
    if condition is None:
        return audio
    time = audio.shape[-1]
    held = condition.over(time) if isinstance(condition, Steps) else over_time(condition, time)
    return torch.cat((audio, held), dim=1)


CONCATENATED = Conditioning("appends the controls to the audio", appended=True, needs_controls=True, allows_norm=True)
