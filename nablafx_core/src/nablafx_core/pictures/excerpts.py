"""Choose excerpts of test recordings, and compute the parameters of a chain over their time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nablafx_core.graybox.gray_box import GrayBox
from nablafx_core.graybox.naming import setting_in_words
from nablafx_core.graybox.observing import parameters_over_time
from nablafx_core.interfaces import Recording
from nablafx_core.interfaces.dataset import read_channels
from nablafx_core.interfaces.position import aligned
from nablafx_core.pictures.plots import loudest

SECONDS = 4.0  # long enough to hear a phrase, short enough to see attacks
SETTINGS = 3  # of the knobs; more curves cannot be told apart
_WARM_UP_SECONDS = 5.0  # left context of an excerpt for a chain with unbounded memory
_SEARCHED_SECONDS = 60.0  # of a recording in which its loudest part is searched


@dataclass(frozen=True)
class Excerpt:
    """The loudest seconds of a recording at one setting of the knobs.

    Args:
        setting: setting of the knobs in words; empty without knobs.
        recording: name of the recording.
        start: first sample of the excerpt in the file.
        audio: dry signal (time,); the first channel if there are several.
        parameters: parameters of the stages, by place and name, in physical units: () if constant, (time,) if moving.
    """

    setting: str
    recording: str
    start: int
    audio: NDArray[np.float64]
    parameters: dict[str, dict[str, Tensor]]


def excerpts(model: GrayBox, recordings: Sequence[Recording]) -> list[Excerpt]:
    """Return one excerpt for each of at most three settings of the knobs, from the same dry signal if possible.

    Args:
        model: chain in eval mode and float64.
        recordings: recordings of the test.
    """
    return [_excerpt(model, recording) for recording in _chosen(recordings)]


def _chosen(recordings: Sequence[Recording]) -> list[Recording]:
    by_setting: dict[tuple[float, ...], list[Recording]] = {}
    for recording in recordings:
        if recording.num_samples:
            by_setting.setdefault(recording.controls, []).append(recording)
    settings = sorted(by_setting)
    count = min(SETTINGS, len(settings))
    spread = [settings[round(i * (len(settings) - 1) / max(1, count - 1))] for i in range(count)]
    if not spread:
        return []
    source = by_setting[spread[0]][0].source
    return [next((r for r in by_setting[one] if r.source == source), by_setting[one][0]) for one in spread]


def _excerpt(model: GrayBox, recording: Recording) -> Excerpt:
    rate = model.sample_rate
    searched = min(recording.stop, recording.start + round(_SEARCHED_SECONDS * rate))
    dry = read_channels(recording.dry, recording.start, searched)[0].numpy().astype(np.float64)
    part = loudest(dry, round(SECONDS * rate))
    start, stop = recording.start + part.start, recording.start + part.stop
    first = aligned(model, max(0, start - model.history(round(_WARM_UP_SECONDS * rate))))
    audio = read_channels(recording.dry, first, stop).double()
    controls = None
    if model.controls and recording.controls:
        controls = torch.tensor([recording.controls], dtype=torch.float64)
    values = parameters_over_time(model, audio[None], controls, recording.offset + first)
    words = setting_in_words(model.controls, recording.controls) if recording.controls else ""
    shown = {
        place: {name: curve[start - first :] if curve.ndim else curve for name, curve in curves.items()}
        for place, curves in values.items()
    }
    return Excerpt(words, recording.name, start, audio[0, start - first :].numpy(), shown)
