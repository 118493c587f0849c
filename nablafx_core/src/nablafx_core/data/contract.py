"""What core relies on in a dataset, whoever wrote it."""

from __future__ import annotations

from typing import get_args

from nablafx_core.audio.files import RATES
from nablafx_core.data.recording import Dataset, Part, Recording
from nablafx_core.errors import DataError


def checked(dataset: Dataset) -> Dataset:
    """The dataset, if it keeps the contract of `Dataset` and `Recording`.

    Raises:
        DataError: naming the recording, if a knob is outside [0, 1], there are more or fewer of them than the dataset
            has controls, dry and wet differ in length, or what counts lies outside of them.
    """
    kind = type(dataset).__name__
    if dataset.sample_rate not in RATES:
        raise DataError(f"{kind}: its sample rate is {dataset.sample_rate!r:.40}, which no recording has.")
    names = set()
    for recording in dataset.recordings:
        fault = "is there twice; names are unique." if recording.name in names else _fault(recording, dataset)
        if fault:
            raise DataError(f"{kind}: the recording '{recording.name}' {fault}")
        names.add(recording.name)
    return dataset


def _fault(recording: Recording, dataset: Dataset) -> str | None:
    if len(recording.controls) != len(dataset.controls):
        known = ", ".join(control.name for control in dataset.controls) or "none"
        return f"has {len(recording.controls)} knobs; the dataset has {len(dataset.controls)}: {known}."
    for control, position in zip(dataset.controls, recording.controls, strict=True):
        if not 0 <= position <= 1:
            turned = "Control.parse turns a value in units into that."
            return f"has its knob '{control.name}' at {position:g}; knobs stand in [0, 1]. {turned}"
    if recording.part not in get_args(Part):
        return f"is of the part '{recording.part}'. Parts: {', '.join(get_args(Part))}."
    dry, wet = recording.dry.num_samples, recording.wet.num_samples
    if dry != wet:
        return f"has {dry:,} samples dry and {wet:,} wet; they are of one length."
    if not 0 <= recording.start <= recording.stop <= dry:
        return f"counts the samples {recording.start:,} to {recording.stop:,} of {dry:,}."
    return None
