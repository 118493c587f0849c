"""Laws of datasets: recordings are complete, aligned, have unique names, and can be read in pieces."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from nablafx_core.interfaces import AudioSource, Dataset, Recording
from nablafx_core.interfaces.dataset import channels_of
from nablafx_core.testing.subject import LawBroken

#: Maximum number of recordings of a dataset that are read, and of samples that are read at either end of each.
MOST_RECORDINGS, MOST_SAMPLES = 8, 1 << 16


def recordings_are_well_formed(dataset: Dataset) -> int:
    """Check the sample rate of a dataset, and the names, lengths, spans and channels of its recordings.

    The sample rate is a positive integer. There is at least one recording. Each has a unique name, dry and wet signals
    of equal length, 0 <= start < stop <= num_samples, and as many dry and wet channels, at least 1, as the first one.

    Returns:
        The number of recordings.

    Raises:
        LawBroken: if one of these does not hold; the message names the recording.
    """
    rate = getattr(dataset, "sample_rate", None)
    if isinstance(rate, bool) or not isinstance(rate, int) or rate <= 0:
        raise LawBroken(f"sample_rate is {rate!r}; expected a positive int in Hz. Set it in the constructor.")
    if not dataset.recordings:
        raise LawBroken("there are no recordings; expected at least one. Fill `recordings`, or raise a DataError.")
    name, count = Counter(recording.name for recording in dataset.recordings).most_common(1)[0]
    if count > 1:
        raise LawBroken(
            f"{count} recordings have the name {name!r}; expected unique names. Add the setting of the knobs to it."
        )
    for recording in dataset.recordings:
        _check_spans(recording)
        _check_channels(recording, dataset.recordings[0])
    return len(dataset.recordings)


def _check_spans(recording: Recording) -> None:
    dry, wet = recording.dry.num_samples, recording.wet.num_samples
    if dry != wet:
        raise LawBroken(
            f"{recording.name}: dry has {dry} samples and wet has {wet}; expected the same number. Cut both to the "
            "part where they are aligned."
        )
    if not 0 <= recording.start < recording.stop <= dry:
        raise LawBroken(
            f"{recording.name}: start {recording.start} and stop {recording.stop} of {dry} samples; expected "
            "0 <= start < stop <= num_samples. Set `stop`; with its default, 0, the recording is empty."
        )


def _check_channels(recording: Recording, first: Recording) -> None:
    for which in ("dry", "wet"):
        here, there = (channels_of(getattr(one, which)) for one in (recording, first))
        if here < 1 or here != there:
            raise LawBroken(
                f"{recording.name}: {which} has {here} channels, but {there} in {first.name}; expected the same "
                "number in every recording, at least 1. Leave out recordings with another number of channels."
            )


def settings_fit_the_knobs(dataset: Dataset) -> int:
    """Check that each recording has a value in [0, 1] for each knob of the dataset.

    Returns:
        The number of knobs.

    Raises:
        LawBroken: if a recording has another number of values, or a value outside [0, 1].
    """
    names = [control.name for control in dataset.controls]
    for recording in dataset.recordings:
        values = recording.controls
        if len(values) != len(names):
            raise LawBroken(
                f"{recording.name}: has {len(values)} values in `controls`; expected one for each of the "
                f"{len(names)} knobs of the dataset: {', '.join(names) or 'none'}."
            )
        outside = [name for name, value in zip(names, values, strict=True) if not 0 <= value <= 1]
        if outside:
            raise LawBroken(
                f"{recording.name}: {outside[0]} is {values[names.index(outside[0])]:g}; expected a value in [0, 1]. "
                "Convert with Control.to_unit."
            )
    return len(names)


def pieces_are_the_whole(dataset: Dataset) -> int:
    """Check that reading in pieces gives exactly the same as reading at once: finite float32 of shape (time,).

    A source with several `channels` returns (channels, time). The dry and wet sources of the first 8 recordings are
    read, at most 65,536 samples at their beginning and as many at their end.

    Returns:
        The length of the part that was read at the beginning, in samples, summed over the sources.

    Raises:
        LawBroken: if a source returns another type or shape, NaN or infinite samples, or other samples in pieces.
    """
    return _each_source(dataset, _check_reading)


def recordings_can_be_pickled(dataset: Dataset) -> int:
    """Check that a pickled copy of a source, as worker processes (``num_workers``) get it, returns the same samples.

    The first 1,024 samples of the dry and wet sources of the first 8 recordings are compared.

    Returns:
        The number of samples that were compared, summed over the sources.

    Raises:
        LawBroken: if a source cannot be pickled, or its copy returns other samples.
    """
    return _each_source(dataset, _check_pickled)


def _each_source(dataset: Dataset, check: Callable[[AudioSource, str], int]) -> int:
    return sum(
        check(source, f"{recording.name} ({which})")
        for recording in dataset.recordings[:MOST_RECORDINGS]
        for which, source in (("dry", recording.dry), ("wet", recording.wet))
    )


def _check_reading(source: AudioSource, name: str) -> int:
    length, channels = source.num_samples, channels_of(source)
    span = min(length, MOST_SAMPLES)
    shape = (span,) if channels == 1 else (channels, span)
    for start in sorted({0, length - span}):
        whole = source.read(start, start + span)
        if not isinstance(whole, Tensor) or whole.dtype != torch.float32 or whole.shape != shape:
            told = f"{whole.dtype} of shape {tuple(whole.shape)}" if isinstance(whole, Tensor) else type(whole).__name__
            raise LawBroken(f"{name}: reading {span} samples gave {told}; expected torch.float32 of shape {shape}.")
        if not bool(whole.isfinite().all()):
            raise LawBroken(f"{name}: has samples that are NaN or infinite. Refuse such a file with a DataError.")
        cuts = sorted({0, min(1, span), span // 3, span // 2, span})
        pieces = [source.read(start + a, start + b) for a, b in pairwise(cuts)]
        if not torch.equal(torch.cat(pieces, dim=-1), whole):
            raise LawBroken(
                f"{name}: reading at once and in pieces cut at {cuts} gives different samples. The samples must depend "
                "only on start and stop: convert the whole signal once, not each piece."
            )
    return span


def _check_pickled(source: AudioSource, name: str) -> int:
    span = min(source.num_samples, 1024)
    try:
        other = pickle.loads(pickle.dumps(source))
    except Exception as error:
        raise LawBroken(
            f"{name}: cannot be pickled ({type(error).__name__}: {error}), so data.num_workers must stay 0. "
            "Keep the path and open the file when it is read, as nablafx_core.data.sources.WavSource does."
        ) from error
    if not torch.equal(other.read(0, span), source.read(0, span)):
        raise LawBroken(f"{name}: a pickled copy returns different samples. Pickle everything that reading depends on.")
    return span
