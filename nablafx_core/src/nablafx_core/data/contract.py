"""Check that a dataset, from core or from a pack, keeps its contract."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, get_args

from nablafx_core.audio.reading import RATES
from nablafx_core.errors import ConfigError, DataError
from nablafx_core.interfaces import Dataset, Part, Recording

if TYPE_CHECKING:
    from nablafx_core.interfaces import Model


def checked(dataset: Dataset) -> Dataset:
    """Return the dataset if it keeps the contract of `Dataset` and `Recording`.

    Raises:
        DataError: if the sample rate is not in `RATES`; or, with the name of the recording, if two recordings have the
            same name, the number of knobs differs from the number of the dataset's controls, a knob is outside
            [0, 1], the part is unknown, dry and wet differ in length, `start` and `stop` are not in order or outside
            the recording, the take is not a string, the offset is not an int, a source has no channel, or the
            channels differ from those of the first recording.
    """
    kind = type(dataset).__name__
    if dataset.sample_rate not in RATES:
        raise DataError(
            f"{kind}: the sample rate is {dataset.sample_rate!r:.40}; expected a whole number from {RATES[0]:,} to "
            f"{RATES[-1]:,} Hz."
        )
    names = set()
    for recording in dataset.recordings:
        fault = "occurs twice; names must be unique." if recording.name in names else _fault(recording, dataset)
        if fault:
            raise DataError(f"{kind}: the recording '{recording.name}' {fault}")
        names.add(recording.name)
    return dataset


def check_channels(model: Model, dataset: Dataset, each: bool = False) -> None:
    """Check that a model accepts the channels of the dry signals and outputs those of the wet ones.

    Args:
        model: model that is trained or tested.
        dataset: dataset whose recordings all have the same channels, as `checked` ensures. Without recordings, nothing
            is checked.
        each: also accept a mono model that streams, if dry and wet have the same number of channels; the caller then
            processes each channel separately.

    Raises:
        ConfigError: if the numbers of channels differ.
    """
    if not dataset.recordings:
        return
    recording = dataset.recordings[0]
    model_has = (model.in_channels, model.out_channels)
    data_has = (recording.in_channels, recording.out_channels)
    if model_has == data_has or (each and model_has == (1, 1) and data_has[0] == data_has[1] and model.streams):
        return
    raise ConfigError(
        f"{type(model).__name__} expects {_channels(model_has[0])} and outputs {model_has[1]}; the recordings have "
        f"{_channels(data_has[0])} dry and {data_has[1]} wet. Choose a model and data with the same number of channels."
    )


def _channels(count: int) -> str:
    return f"{count} channel{'s' if count > 1 else ''}"


def _fault(recording: Recording, dataset: Dataset) -> str | None:
    if len(recording.controls) != len(dataset.controls):
        known = ", ".join(control.name for control in dataset.controls) or "none"
        return (
            f"has {len(recording.controls)} knobs; the dataset has {len(dataset.controls)}: {known}. Give one position "
            "per knob."
        )
    for control, position in zip(dataset.controls, recording.controls, strict=True):
        if not 0 <= position <= 1:
            hint = "Control.parse converts a value with a unit."
            return f"has the knob '{control.name}' at {position:g}; control values must be in [0, 1]. {hint}"
    if recording.part not in get_args(Part):
        return f"has the unknown part '{recording.part}'. Parts: {', '.join(get_args(Part))}."
    dry, wet = recording.dry.num_samples, recording.wet.num_samples
    if dry != wet:
        return f"has {dry:,} samples dry and {wet:,} wet; expected the same length."
    if not 0 <= recording.start <= recording.stop <= dry:
        return f"has start {recording.start:,} and stop {recording.stop:,}; expected 0 <= start <= stop <= {dry:,}."
    if not isinstance(recording.take, str) or not isinstance(recording.offset, Integral):
        return f"has take {recording.take!r:.40} and offset {recording.offset!r:.40}; expected a string and an int."
    first = dataset.recordings[0]
    here, there = ((r.in_channels, r.out_channels) for r in (recording, first))
    if min(here) < 1:
        return f"has sources of {here[0]} and {here[1]} channels; expected at least 1."
    if here != there:
        return (
            f"has {_channels(here[0])} dry and {here[1]} wet, '{first.name}' has {there[0]} and {there[1]}. "
            "All recordings of a dataset must have the same number of channels."
        )
    return None
