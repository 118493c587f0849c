"""Lightning data module for the recordings of one effect: split, cut into segments, batched."""

from __future__ import annotations

import signal
import sys
from dataclasses import replace
from types import TracebackType

import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader

from nablafx_core.config.schema import LoadingSettings
from nablafx_core.data.segments import Batch, BatchNumbers, FixedBatches, Segment, TrainingBatches
from nablafx_core.data.sources import ArraySource
from nablafx_core.data.splits import split
from nablafx_core.errors import DataError
from nablafx_core.interfaces import Dataset, Part, Recording


class AudioDataModule(LightningDataModule):
    """Data module with batches for training and validation, and whole recordings for the test.

    Training batches are an endless stream, in which batch k depends only on `seed` and k (see `TrainingBatches`). No
    segment is dropped, and every batch has `batch_size` segments. Each iteration of the loader starts after the batches
    that the trainer has already processed, so that an epoch may end anywhere. With several processes, each process
    trains on its own batches and validates on all data, so that no process waits for another; the trainer must have
    ``use_distributed_sampler=False``.

    Args:
        dataset: dataset with the recordings.
        loading: settings of segments, batches and the split.
        context: number of samples of dry signal before each segment.
        gap: number of samples left out between parts of one recording that is divided by time, so that they share no
            history; `context` if None.
        seed: seed of the training stream.

    Attributes:
        train, validation, test: the recordings of each part.
        notes: notes of the dataset, and one for each recording that is left out because it is too short.
        min_samples: smallest number of samples of a validation segment; see `require`.
        batch_size: batch size of training: the setting, or the number of segments if that is smaller.
        num_segments: number of segments in one pass over the training data.
        first_batch: number of the first batch of the stream; set it to resume in your own training loop.

    Raises:
        DataError: if the recordings cannot be split (see `split`), or cannot be read to preload them, or no training
            recording is as long as a segment.
    """

    def __init__(
        self,
        dataset: Dataset,
        loading: LoadingSettings,
        *,
        context: int = 0,
        gap: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.loading = loading
        self.context = context
        self.seed = seed
        self.first_batch = 0
        self.min_samples = 1
        parts = split(dataset.recordings, loading, context if gap is None else gap)
        if loading.preload:
            parts = _preloaded(parts)
        self.validation, self.test = parts["validation"], parts["test"]
        self.train, too_short = _at_least(parts["train"], loading.segment_length)
        self.notes = tuple(dataset.notes) + too_short
        self.num_segments = sum(recording.num_samples // loading.segment_length for recording in self.train)
        self.batch_size = min(loading.batch_size, self.num_segments)

    def require(self, min_samples: int, owner: str) -> None:
        """Set the minimum length of validation segments; leave out recordings that are shorter, with a note.

        Args:
            min_samples: smallest number of samples, at most the length of a segment.
            owner: component that needs so many samples, for messages, such as ``"the loss 'mr_stft'"``.

        Raises:
            DataError: if no validation recording is long enough.
        """
        self.min_samples = min_samples
        long_enough = tuple(recording for recording in self.validation if recording.num_samples >= min_samples)
        short = [recording for recording in self.validation if recording.num_samples < min_samples]
        if not long_enough:
            longest = max(short, key=lambda recording: recording.num_samples)
            raise DataError(
                f"{owner} needs at least {min_samples:,} samples, but the longest validation recording, "
                f"{longest.name}, has {longest.num_samples:,}. Use longer recordings, increase data.validation, or "
                "choose another loss."
            )
        self.validation = long_enough
        self.notes += tuple(
            f"{recording.name}: not used for validation, because it has {recording.num_samples:,} samples and {owner} "
            f"needs at least {min_samples:,}."
            for recording in short
        )

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return a loader of the endless stream of this process's training batches.

        Each iteration begins at the first batch that the trainer has not processed, or at `first_batch` if that is
        later.
        """
        return self._loader(self._training_batches(), BatchNumbers(self._next_batch))

    def _next_batch(self) -> int:
        if not self.trainer:
            return self.first_batch
        trained: int = self.trainer.fit_loop.epoch_loop.batch_progress.total.completed
        return max(self.first_batch, trained)

    def segments_of(self, batch: int) -> list[Segment]:
        """Return the segments of this process in training batch number `batch`, counted from the stream's start."""
        return self._training_batches().segments(batch)

    def _training_batches(self) -> TrainingBatches:
        rank, world_size = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        return TrainingBatches(
            self.train, self.loading.segment_length, self.batch_size, self.context, self.seed, rank, world_size
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return a loader that covers every sample of the validation recordings once."""
        return self._loader(self.validation_batches())

    def validation_batches(self) -> FixedBatches:
        """Return the validation batches, the same in every process; their audio is read when they are indexed."""
        loading = self.loading
        return FixedBatches(self.validation, loading.segment_length, loading.batch_size, self.context, self.min_samples)

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
            worker_init_fn=_ignore_ctrl_c,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator().manual_seed(self.seed),  # not the global random state
        )


def _ignore_ctrl_c(worker: int) -> None:
    """Ignore Ctrl-C in a worker process, and hide the connections that it loses.

    A terminal sends Ctrl-C to every process; the training process handles it and ends its workers.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.excepthook = _hide_lost_connection


def _hide_lost_connection(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an exception, unless it is a lost connection: the training process ended while it received a tensor."""
    if not isinstance(error, EOFError | ConnectionError):
        sys.__excepthook__(kind, error, trace)


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
            f"data.segment_length is {segment_length} samples, but the longest training recording, {longest.name}, has "
            f"{longest.num_samples}. Set data.segment_length to {longest.num_samples} or less."
        )
    notes = tuple(
        f"{recording.name}: not used for training, because its {recording.num_samples} samples are less than a segment "
        f"({segment_length})."
        for recording in recordings
        if recording.num_samples < segment_length
    )
    return long_enough, notes
