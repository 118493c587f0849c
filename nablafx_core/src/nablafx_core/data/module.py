"""Recordings of one effect as Lightning reads them: split, cut, batched."""

from __future__ import annotations

import signal
from dataclasses import replace

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
    """Batches for training and validation, whole recordings for the test.

    Training batches are an endless stream, in which batch k depends on `seed` and k only (see `TrainingBatches`);
    nothing is dropped and every batch has `batch_size` segments. Each iteration of the loader starts after the batches
    that the trainer has already trained, so an epoch may end anywhere. Under several processes each trains its own
    batches and validates everything, so that no process waits for another; give the trainer
    ``use_distributed_sampler=False``.

    Args:
        dataset: the recordings.
        loading: segments, batches and the split.
        context: samples of dry signal given before each segment.
        gap: samples left out between the parts of one file, so that they share no history; `context` if None.
        seed: of the training stream.

    Attributes:
        train, validation, test: the recordings of each part.
        notes: the dataset's, and what was left out here.
        min_samples: fewest samples of a validation segment; see `require`.
        batch_size: of training; as set, or the number of segments if there are fewer.
        num_segments: in one pass over the training data.
        first_batch: the batch with which the stream starts; in a loop of your own, the number of batches trained
            before a resume.

    Raises:
        DataError: if a part of the split would be empty, or no recording is as long as a segment.
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
        """Validate on no segment shorter than this; recordings that are shorter as a whole are left out and noted.

        Args:
            min_samples: at most the length of a segment.
            owner: component that needs them, for messages, such as ``"the loss 'mr_stft'"``.

        Raises:
            DataError: if no validation recording is long enough.
        """
        self.min_samples = min_samples
        long_enough = tuple(recording for recording in self.validation if recording.num_samples >= min_samples)
        short = [recording for recording in self.validation if recording.num_samples < min_samples]
        if not long_enough:
            longest = max(short, key=lambda recording: recording.num_samples)
            raise DataError(
                f"{owner} needs at least {min_samples:,} samples, and no validation recording has as many; the "
                f"longest, {longest.name}, has {longest.num_samples:,}. Use longer recordings, set data.validation to "
                "a larger share, or choose another loss."
            )
        self.validation = long_enough
        self.notes += tuple(
            f"{recording.name}: {recording.num_samples:,} samples are fewer than {owner} needs ({min_samples:,}); not "
            "validated on."
            for recording in short
        )

    def train_dataloader(self) -> DataLoader[Batch]:
        """Endless stream of training batches."""
        return self._loader(self._training_batches(), BatchNumbers(self._next_batch))

    def _next_batch(self) -> int:
        if not self.trainer:
            return self.first_batch
        trained: int = self.trainer.fit_loop.epoch_loop.batch_progress.total.completed
        return max(self.first_batch, trained)

    def segments_of(self, batch: int) -> list[Segment]:
        """Return the segments of this process in a batch, whose number counts from the start of the stream."""
        return self._training_batches().segments(batch)

    def _training_batches(self) -> TrainingBatches:
        rank, world_size = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        return TrainingBatches(
            self.train, self.loading.segment_length, self.batch_size, self.context, self.seed, rank, world_size
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        """Every sample of the validation recordings once."""
        return self._loader(self.validation_batches())

    def validation_batches(self) -> FixedBatches:
        """Validation batches, without their audio."""
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
