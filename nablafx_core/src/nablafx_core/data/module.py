"""Recordings of one effect as Lightning reads them: split, cut, batched."""

from __future__ import annotations

import signal
from dataclasses import replace
from typing import Any

import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader

from nablafx_core.data.loading import LoadingSettings
from nablafx_core.data.recording import Dataset, Part, Recording
from nablafx_core.data.segments import Batch, BatchNumbers, FixedBatches, Segment, TrainingBatches
from nablafx_core.data.sources import ArraySource
from nablafx_core.data.splits import split
from nablafx_core.errors import DataError


class AudioDataModule(LightningDataModule):
    """Batches for training and validation, whole recordings for the test.

    An epoch is `steps_per_epoch` batches of an endless stream, in which batch k depends on `seed` and k only
    (see `TrainingBatches`); nothing is dropped and every batch has `batch_size` segments. Under several
    processes each trains its own batches and validates everything, so that no process waits for another;
    give the trainer ``use_distributed_sampler=False``.

    Args:
        dataset: the recordings.
        loading: segments, batches and the split.
        steps_per_epoch: batches between two validations.
        context: samples of dry signal given before each segment.
        gap: samples left out between the parts of one file, so that they share no history; `context` if None.
        seed: of the training stream.

    Attributes:
        train, validation, test: the recordings of each part.
        notes: the dataset's, and what was left out here.
        batch_size: of training; as set, or the number of segments if there are fewer.
        num_segments: in one pass over the training data.
        first_batch: set it before training goes on from a checkpoint in the middle of an epoch: the number of
            batches already trained since the very beginning.

    Raises:
        DataError: if a part of the split would be empty, or no recording is as long as a segment.
    """

    def __init__(
        self,
        dataset: Dataset,
        loading: LoadingSettings,
        *,
        steps_per_epoch: int,
        context: int = 0,
        gap: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.loading = loading
        self.steps_per_epoch = steps_per_epoch
        self.context = context
        self.seed = seed
        self.first_batch = 0
        parts = split(dataset.recordings, loading, context if gap is None else gap)
        if loading.preload:
            parts = _preloaded(parts)
        self.validation, self.test = parts["validation"], parts["test"]
        self.train, too_short = _at_least(parts["train"], loading.segment_length)
        self.notes = tuple(dataset.notes) + too_short
        self.num_segments = sum(recording.num_samples // loading.segment_length for recording in self.train)
        self.batch_size = min(loading.batch_size, self.num_segments)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches of the training stream; set the epoch on its sampler, as Lightning does."""
        batches = self._training_batches()
        numbers = BatchNumbers(self.steps_per_epoch, self.first_batch)
        if self.trainer:  # Lightning sets it only after it has begun to iterate, which after a resume is too late
            progress: Any = self.trainer.fit_loop.epoch_progress.current
            numbers.set_epoch(progress.processed)
        return self._loader(batches, numbers)

    def segments_of(self, epoch: int, batch: int) -> list[Segment]:
        """The segments of a batch of this process."""
        return self._training_batches().segments(epoch * self.steps_per_epoch + batch)

    def _training_batches(self) -> TrainingBatches:
        rank, world_size = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        return TrainingBatches(
            self.train, self.loading.segment_length, self.batch_size, self.context, self.seed, rank, world_size
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        """Every sample of the validation recordings once."""
        return self._loader(
            FixedBatches(self.validation, self.loading.segment_length, self.loading.batch_size, self.context)
        )

    def _loader(
        self, batches: TrainingBatches | FixedBatches, sampler: BatchNumbers | None = None
    ) -> DataLoader[Batch]:
        workers = self.loading.num_workers
        return DataLoader(
            batches,
            batch_size=None,
            sampler=sampler,
            num_workers=workers,
            persistent_workers=workers > 0,
            worker_init_fn=_leave_ctrl_c,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator().manual_seed(self.seed),  # else each iteration draws from the global state
        )


def _leave_ctrl_c(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal; the training's own decides, and ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _preloaded(parts: dict[Part, tuple[Recording, ...]]) -> dict[Part, tuple[Recording, ...]]:
    held: dict[int, ArraySource] = {}

    def hold(recording: Recording) -> Recording:
        for source in (recording.dry, recording.wet):
            if id(source) not in held:
                held[id(source)] = ArraySource(source.read(0, source.num_samples))
        return replace(recording, dry=held[id(recording.dry)], wet=held[id(recording.wet)])

    return {part: tuple(hold(recording) for recording in recordings) for part, recordings in parts.items()}


def _at_least(recordings: tuple[Recording, ...], segment_length: int) -> tuple[tuple[Recording, ...], tuple[str, ...]]:
    long_enough = tuple(recording for recording in recordings if recording.num_samples >= segment_length)
    if not long_enough:
        longest = max(recordings, key=lambda recording: recording.num_samples)
        raise DataError(
            f"no training recording is as long as a segment of {segment_length} samples; the longest, "
            f"{longest.name}, has {longest.num_samples}. Set data.segment_length to {longest.num_samples} or less."
        )
    notes = tuple(
        f"{recording.name}: {recording.num_samples} samples are less than a segment ({segment_length}); not trained on."
        for recording in recordings
        if recording.num_samples < segment_length
    )
    return long_enough, notes
