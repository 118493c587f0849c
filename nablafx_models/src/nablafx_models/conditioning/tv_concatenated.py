"""Append a condition that follows the audio, block by block, to the audio as input channels."""

from __future__ import annotations

from nablafx_models.conditioning.audio_conditioner import audio_conditioner
from nablafx_models.conditioning.interface import Conditioning

_SIZE = 16  # as in NablAFx 1.0

TV_CONCATENATED = Conditioning(
    "appends the output of an LSTM of the controls and of the audio's peaks in blocks of samples",
    conditioner=audio_conditioner(_SIZE),
    condition_size=_SIZE,
    appended=True,
    allows_norm=True,
)
