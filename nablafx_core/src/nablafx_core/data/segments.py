"""Cut recordings into segments with the dry signal before them as context, and group segments into batches."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from nablafx_core.errors import DataError
from nablafx_core.interfaces import Recording
from nablafx_core.interfaces.dataset import read_channels
from nablafx_core.pack_code import PackFailure, contained


class Batch(NamedTuple):
    """Batch of segments of equal length.

    Args:
        dry: dry signals, (batch, in_channels, context + time); the first `context` samples precede the segment.
        wet: wet signals, (batch, out_channels, time).
        controls: positions of the knobs in [0, 1], (batch, num_controls).
        start: position in its file of the first sample of each item of `dry`, (batch,), int64; negative if the context
            begins before the file. It is the argument `start` of `nablafx_core.interfaces.Model.offline`.
        take: value of `Recording.take` for each item; a tuple, or a list if the loader pinned the memory.
    """

    dry: Tensor
    wet: Tensor
    controls: Tensor
    start: Tensor
    take: Sequence[str]


class Segment(NamedTuple):
    """Part of one recording: samples start to stop, counted from the beginning of its dry signal."""

    recording: Recording
    start: int
    stop: int

    @property
    def position(self) -> int:
        """Position of the first sample, counted from the beginning of the file."""
        return self.recording.offset + self.start


def stack(segments: Sequence[Segment], context: int) -> Batch:
    """Read segments of equal length into a batch, each with `context` samples of dry signal before it.

    Raises:
        DataError: if a file cannot be read, or a source raises what would end a worker process, such as SystemExit.
            Other exceptions of a source pass unchanged.
    """
    try:
        with contained():
            dry = torch.stack([read_channels(s.recording.dry, s.start - context, s.stop) for s in segments])
            wet = torch.stack([read_channels(s.recording.wet, s.start, s.stop) for s in segments])
    except PackFailure as error:
        raise DataError(f"a recording cannot be read: {error}") from error
    controls = torch.tensor([s.recording.controls for s in segments], dtype=torch.float32)
    start = torch.tensor([s.position - context for s in segments])
    return Batch(dry, wet, controls.reshape(len(segments), -1), start, tuple(s.recording.take for s in segments))


class TrainingBatches(Dataset[Batch]):
    """Endless stream of training batches; batch k depends only on (seed, k).

    A pass over the data is a random order of all n segments. Item i of the stream belongs to pass i // n. Batch k of
    process r of w begins with item (k w + r) batch_size. A recording of N samples has N // segment_length segments in
    each pass. Their common grid is shifted by a new random amount in each pass, uniform over one segment length, so
    that a sample occurs at every position in a segment; a segment that would leave the recording is moved inside.

    Args:
        recordings: recordings; those that are shorter than a segment are not used, and one must be long enough.
        segment_length: number of samples of a segment.
        batch_size: number of segments in a batch of one process.
        context: number of samples of dry signal before each segment.
        seed: seed of order and grid.
        rank, world_size: number of this process, and number of all processes that train together.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        segment_length: int,
        batch_size: int,
        context: int = 0,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.recordings = tuple(recordings)
        self.segment_length = segment_length
        self.batch_size = batch_size
        self.context = context
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self._ends = np.cumsum([recording.num_samples // segment_length for recording in self.recordings])
        self._passes: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    @property
    def num_segments(self) -> int:
        """Number of segments in one pass over the data."""
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Batch:
        return stack(self.segments(index), self.context)

    def segments(self, index: int) -> list[Segment]:
        """Return the segments of batch `index` of this process."""
        first = (index * self.world_size + self.rank) * self.batch_size
        return [self.segment(first + i) for i in range(self.batch_size)]

    def segment(self, item: int) -> Segment:
        """Return the segment that is item `item` of the stream of all processes."""
        number, place = divmod(item, self.num_segments)
        order, grids = self._pass(number)
        which = int(np.searchsorted(self._ends, order[place], side="right"))
        recording = self.recordings[which]
        count = recording.num_samples // self.segment_length
        slack = recording.num_samples - count * self.segment_length
        step = int(order[place]) - (int(self._ends[which]) - count)
        grid = slack // 2 - self.segment_length // 2 + int(grids[which])
        start = min(max(grid + step * self.segment_length, 0), recording.num_samples - self.segment_length)
        start += recording.start
        return Segment(recording, start, start + self.segment_length)

    def _pass(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        if number not in self._passes:
            if len(self._passes) > 3:
                self._passes.clear()
            random = np.random.default_rng([self.seed, number])
            order = random.permutation(self.num_segments)
            self._passes[number] = order, random.integers(self.segment_length, size=len(self.recordings))
        return self._passes[number]


class BatchNumbers(Sampler[int]):
    """Endless sequence of batch numbers. It has no length, because the training decides where an epoch ends.

    Args:
        first: function that returns the first number; called at the start of each iteration.
    """

    def __init__(self, first: Callable[[], int]) -> None:
        self.first = first

    def __iter__(self) -> Iterator[int]:
        return itertools.count(self.first())


class FixedBatches(Dataset[Batch]):
    """Batches that contain every sample of the recordings once, in a fixed order, for validation.

    Recordings are cut into segments. The last segment of a recording may be shorter; if it would have fewer than
    `min_samples`, it is joined to the one before. A batch contains only segments of equal length, so that nothing is
    padded and results do not depend on the batch size.

    Args:
        recordings: recordings of at least `min_samples`.
        segment_length: number of samples of a segment.
        batch_size: largest number of segments in a batch.
        context: number of samples of dry signal before each segment.
        min_samples: smallest number of samples of a segment, at most `segment_length`.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        segment_length: int,
        batch_size: int,
        context: int = 0,
        min_samples: int = 1,
    ) -> None:
        self.context = context
        by_length: dict[int, list[Segment]] = {}
        for recording in recordings:
            last = max(recording.start + 1, recording.stop - min_samples + 1)
            starts = range(recording.start, last, segment_length)
            for start, stop in itertools.pairwise((*starts, recording.stop)):
                by_length.setdefault(stop - start, []).append(Segment(recording, start, stop))
        self.batches = [
            group[first : first + batch_size]
            for group in by_length.values()
            for first in range(0, len(group), batch_size)
        ]

    @property
    def shortest(self) -> int:
        """Number of samples of the shortest segment."""
        return min(group[0].stop - group[0].start for group in self.batches)

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Batch:
        return stack(self.batches[index], self.context)
