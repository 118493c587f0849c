"""Divide recordings into training, validation and test."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from nablafx_core.config.schema import LoadingSettings
from nablafx_core.errors import DataError
from nablafx_core.interfaces import Part, Recording

Parts = dict[Part, tuple[Recording, ...]]

# 10 dB; a validation on the end of a fading chord would select a model by how it renders near silence.
_FADED = 0.1
_BLOCK = 1 << 18  # samples read at a time


def split(recordings: Sequence[Recording], settings: LoadingSettings, gap: int = 0) -> Parts:
    """Divide the recordings marked ``"trainval"``; the others stay in the part with which they are marked.

    A share `settings.validation` is set aside for validation if no recording is marked ``"validation"``, and the same
    share for the test if none is marked ``"test"``. The rest is for training.

    The method is `settings.split`:

    - ``file``: divide by dry file (`Recording.source`), with all its settings.
    - ``setting``: divide by knob positions.
    - ``time``: set aside the end of each recording, after a gap; its beginning if the end is 10 dB quieter (a chord
      that fades).
    - ``auto``: ``file``, or ``time`` if there are fewer dry files than parts.
    - ``segment``: divide into random segments of all recordings, as in the NablAFx paper; a rest shorter than a segment
      is left out. **It leaks**: the neighbours of a validation segment are trained on, so that scores are too good. Use
      it only to reproduce published tables.

    Args:
        recordings: recordings of one dataset.
        settings: settings `split`, `validation`, `split_seed` and, for ``segment``, `segment_length`.
        gap: number of samples left out between two parts of one recording; used by ``time`` only.

    Returns:
        Recordings by part: ``"train"``, ``"validation"`` and ``"test"``; no part is empty.

    Raises:
        DataError: if a part would be empty, or the recordings cannot be divided.
    """
    parts: dict[Part, list[Recording]] = {"train": [], "validation": [], "test": []}
    for recording in recordings:
        if recording.part != "trainval":
            parts[recording.part].append(recording)
    divided = [recording for recording in recordings if recording.part == "trainval"]
    wanted: list[Part] = [part for part in ("test", "validation") if not parts[part]]
    if not divided and not parts["train"]:
        raise DataError("there are no recordings to train on. Mark some with the part train or trainval.")
    if divided:
        for recording in _divide(divided, wanted, settings, gap):
            parts[recording.part].append(recording)
    for part, members in parts.items():
        if not any(recording.num_samples for recording in members):
            raise DataError(
                f"the split leaves no recording for {part}. Mark recordings for it, or mark more recordings trainval, "
                "so that some can be set aside."
            )
    return {part: tuple(members) for part, members in parts.items()}


def _divide(
    recordings: list[Recording], wanted: list[Part], settings: LoadingSettings, gap: int
) -> Iterator[Recording]:
    share = settings.validation
    if share * len(wanted) >= 1:
        raise DataError(
            f"data.validation is {share:g}; with a test part of the same size, nothing is left to train on. "
            "Set it below 0.5."
        )
    method = settings.split
    if method == "auto":
        method = "file" if len({recording.source for recording in recordings}) > len(wanted) else "time"
    if method == "time":
        return itertools.chain.from_iterable(_by_time(recording, wanted, share, gap) for recording in recordings)
    if method == "segment":
        recordings = [piece for recording in recordings for piece in _pieces(recording, settings.segment_length)]
    key, what = _GROUPS[method]
    return _by_group(recordings, wanted, share, settings.split_seed, key, what)


_GROUPS: dict[str, tuple[Callable[[Recording], Hashable], str]] = {
    "file": (lambda recording: recording.source, "dry file"),
    "setting": (lambda recording: recording.controls, "setting of the knobs"),
    "segment": (lambda recording: recording.name, "segment"),
}


def _by_group(
    recordings: list[Recording],
    wanted: list[Part],
    share: float,
    seed: int,
    key: Callable[[Recording], Hashable],
    what: str,
) -> Iterator[Recording]:
    """Assign whole groups in random order: each wanted part takes groups until it is as near to its share as can be.

    Each part takes at least one group, and the rest is for training.
    """
    lengths: dict[Hashable, int] = {}
    for recording in recordings:
        lengths[key(recording)] = lengths.get(key(recording), 0) + recording.num_samples
    if len(lengths) <= len(wanted):
        raise DataError(
            f"{len(lengths)} {what}(s) cannot be divided into train, {' and '.join(reversed(wanted))}. "
            "Set data.split to time, or record more."
        )
    total = sum(lengths.values())
    groups = list(lengths)
    waiting = [groups[i] for i in np.random.default_rng(seed).permutation(len(groups))]
    part_of: dict[Hashable, Part] = {}
    for still, part in zip(range(len(wanted), 0, -1), wanted, strict=True):
        taken = 0
        while len(waiting) > still and (taken == 0 or taken + lengths[waiting[0]] / 2 <= share * total):
            group = waiting.pop(0)
            part_of[group] = part
            taken += lengths[group]
    return (replace(recording, part=part_of.get(key(recording), "train")) for recording in recordings)


def _by_time(recording: Recording, wanted: list[Part], share: float, gap: int) -> Iterator[Recording]:
    """Divide one recording into train, validation, test in order, with gaps; in reverse if the recording fades out."""
    order: list[Part] = ["train", *reversed(wanted)]
    length = round(share * recording.num_samples)
    cuts = [recording.stop - length * i for i in range(len(wanted), 0, -1)]
    spans = list(zip([recording.start, *cuts], [cut - gap for cut in cuts] + [recording.stop], strict=True))
    for part, (start, stop) in zip(order, spans, strict=True):
        if stop <= start:
            raise DataError(
                f"{recording.name}: {recording.num_samples} samples cannot be divided by time with gaps of {gap}; "
                f"nothing is left for {part}. Use longer recordings or a model with a smaller receptive field."
            )
    ends = recording.start + recording.stop
    backwards = [(ends - stop, ends - start) for start, stop in spans]
    if _quietest(recording, spans[1:]) < _FADED * _quietest(recording, backwards[1:]):
        spans = backwards
    for part, (start, stop) in zip(order, spans, strict=True):
        yield recording.within(start, stop, part)


def _quietest(recording: Recording, spans: Sequence[tuple[int, int]]) -> float:
    """Return the lowest mean power of the dry signal over the spans."""
    powers = []
    for start, stop in spans:
        blocks = (recording.dry.read(at, min(at + _BLOCK, stop)) for at in range(start, stop, _BLOCK))
        powers.append(sum(float(block.double().square().sum()) for block in blocks) / (stop - start))
    return min(powers, default=0.0)


def _pieces(recording: Recording, length: int) -> Iterator[Recording]:
    for start in range(recording.start, recording.stop - length + 1, length):
        yield replace(recording, name=f"{recording.name}[{start}:{start + length}]", start=start, stop=start + length)
