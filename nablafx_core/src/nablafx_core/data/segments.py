"""Cutting recordings into segments with their true left context, and segments into batches."""

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
    """Segments of equal length.

    Args:
        dry: (batch, in_channels, context + time); its first `context` samples are what came before the segment.
        wet: (batch, out_channels, time).
        controls: (batch, num_controls), in [0, 1].
        start: (batch,), int64, the position in its file of each item's first sample of `dry`; negative where the
            context begins before the file. It is what `nablafx_core.interfaces.Model.offline` takes.
        take: the name of each item's `Recording.take`; a tuple, or a list where the loader has pinned the memory.
    """

    dry: Tensor
    wet: Tensor
    controls: Tensor
    start: Tensor
    take: Sequence[str]


class Segment(NamedTuple):
    """Samples start to stop of one recording, counted from the beginning of its dry signal."""

    recording: Recording
    start: int
    stop: int

    @property
    def position(self) -> int:
        """Position of its first sample, counted from the beginning of the file."""
        return self.recording.offset + self.start


def stack(segments: Sequence[Segment], context: int) -> Batch:
    """Read segments of equal length, each with `context` samples of dry signal before it.

    Raises:
        DataError: if reading fails, or a source raises what does not derive from Exception, which would end a worker.
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
    """The endless stream of training batches; batch k is a function of (seed, k) and of nothing else.

    Pass p over the data is a random order of all n segments, item i of the stream belongs to pass i // n, and
    process r of w takes the items from (k w + r) batch_size on for its batch k. A recording of N samples gives
    N // segment_length segments in each pass; their common grid is moved by a new random amount, uniform over
    one segment length, and kept inside the recording, so that every sample is seen at every place in a segment.

    Args:
        recordings: each at least a segment long.
        segment_length: samples.
        batch_size: segments in a batch of one process.
        context: samples of dry signal before each segment.
        seed: of order and grid.
        rank, world_size: this process among those that train together.
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
        """Segments in one pass over the data."""
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Batch:
        return stack(self.segments(index), self.context)

    def segments(self, index: int) -> list[Segment]:
        """The segments of batch `index`."""
        first = (index * self.world_size + self.rank) * self.batch_size
        return [self.segment(first + i) for i in range(self.batch_size)]

    def segment(self, item: int) -> Segment:
        """Item `item` of the stream."""
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
    """Endless sequence of batch numbers. It has no length: the training decides where an epoch ends.

    Args:
        first: called at the start of each iteration; returns the number to start with.
    """

    def __init__(self, first: Callable[[], int]) -> None:
        self.first = first

    def __iter__(self) -> Iterator[int]:
        return itertools.count(self.first())


class FixedBatches(Dataset[Batch]):
    """Every sample of the recordings once, in a fixed order: validation.

    Recordings are cut into segments. The last one is shorter or, where it would have fewer than `min_samples`, joined
    to the one before. A batch holds segments of equal length only, so that nothing is padded and batching changes no
    result.

    Args:
        recordings: each of at least `min_samples`.
        segment_length: samples.
        batch_size: the most segments in a batch.
        context: samples of dry signal before each segment.
        min_samples: fewest samples of a segment, at most `segment_length`.
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
