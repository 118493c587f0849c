"""Batches contain the right samples, every sample occurs, and batch k depends only on the seed and k."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import islice, pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning import LightningModule, Trainer

from nablafx_core.config.schema import LoadingSettings
from nablafx_core.data.module import AudioDataModule
from nablafx_core.data.segments import BatchNumbers, FixedBatches, TrainingBatches
from nablafx_core.data.sources import ArraySource
from nablafx_core.errors import DataError
from nablafx_core.interfaces import Dataset, Recording


def recording(length, number=0, start=0, stop=None, part="trainval", source=None):
    """Return a recording whose samples encode their position: 10000 number + n + 1, negated in wet."""
    audio = 10000.0 * number + torch.arange(1.0, length + 1)
    stop = length if stop is None else stop
    name = f"r{number}"
    return Recording(name, ArraySource(audio), ArraySource(-audio), source or name, (number / 100,), part, start, stop)


def dataset(*recordings):
    made = Dataset()
    made.sample_rate = 48000
    made.recordings = recordings
    return made


def same(one, other):
    """True if two batches are equal."""
    tensors = all(torch.equal(a, b) for a, b in zip(one[:4], other[:4], strict=True))
    return tensors and tuple(one.take) == tuple(other.take)


lengths = st.lists(st.integers(20, 200), min_size=1, max_size=5)


@given(lengths, st.integers(1, 60), st.integers(1, 5), st.integers(0, 30), st.integers(1, 60))
def test_validation_holds_every_sample_once_in_batches_of_equal_length(
    lengths, segment_length, batch_size, context, min_samples
):
    min_samples = min(min_samples, segment_length)
    recordings = [recording(length, number, start=7) for number, length in enumerate(lengths)]
    batches = FixedBatches(recordings, segment_length, batch_size, context, min_samples)
    seen = Counter()
    assert batches.shortest == min(batches[k].wet.shape[-1] for k in range(len(batches)))
    for batch in (batches[k] for k in range(len(batches))):
        assert 1 <= batch.wet.shape[0] <= batch_size
        assert min(min_samples, *(r.num_samples for r in recordings)) <= batch.wet.shape[-1]
        assert batch.wet.shape[-1] < segment_length + min_samples
        seen.update(int(-value) for value in batch.wet.flatten())
        assert torch.equal(batch.dry[..., context:], -batch.wet)
    wanted = [int(v) for r in recordings for v in r.dry.audio[7:]]
    assert seen == Counter(wanted)


@given(lengths, st.integers(1, 10), st.integers(0, 40), st.integers(0, 10), st.integers(0, 5))
def test_the_context_is_the_signal_before_the_segment_and_zeros_before_the_file(lengths, segment, context, start, k):
    recordings = [recording(length, number, start=start) for number, length in enumerate(lengths)]
    batch = TrainingBatches(recordings, segment, 4, context)[k]
    assert batch.dry.shape == (4, 1, context + segment)
    assert batch.wet.shape == (4, 1, segment)
    assert batch.start.dtype == torch.int64
    items = zip(batch.dry[:, 0], batch.wet[:, 0], batch.controls, batch.start.tolist(), batch.take, strict=True)
    for dry, wet, controls, position, take in items:
        number = round(100 * float(controls[0]))
        first = int(-wet[0]) - 10000 * number - 1
        audio = recordings[number].dry.audio
        assert (position, take) == (first - context, f"r{number}")
        assert first >= start
        assert torch.equal(-wet, audio[first : first + segment])
        padded = torch.cat([torch.zeros(context), audio])
        assert torch.equal(dry, padded[first : first + context + segment])


@pytest.mark.parametrize("split", ["time", "segment"])
def test_parts_of_a_take_keep_its_name_and_their_positions(split):
    files = [replace(recording(1000, number), take=take, offset=30) for number, take in ((1, "pass 1"), (2, ""))]
    data = module(files, split=split, segment_length=50, context=7, preload=True)
    named = {"r1": "pass 1", "r2": "r2"}
    for part in (data.train, data.validation, data.test):
        for piece in part:
            assert piece.take == named[piece.name[:2]]
    for loader in (islice(data.train_dataloader(), 3), data.val_dataloader()):
        for batch in loader:
            for wet, position, take in zip(batch.wet[:, 0], batch.start.tolist(), batch.take, strict=True):
                number = 1 if take == "pass 1" else 2
                assert position + 7 == int(-wet[0]) - 10000 * number - 1 + 30


@given(lengths, st.integers(1, 20), st.integers(1, 7), st.integers(0, 3), st.integers(0, 50))
def test_a_pass_contains_each_place_of_the_grid_once(lengths, segment, batch_size, seed, number):
    recordings = [recording(length, index) for index, length in enumerate(lengths)]
    batches = TrainingBatches(recordings, segment, batch_size, seed=seed)
    n = batches.num_segments
    assert n == sum(length // segment for length in lengths)
    chosen = [batches.segment(number * n + i) for i in range(n)]
    count = Counter(segment.recording.name for segment in chosen)
    assert count == Counter({r.name: r.num_samples // segment for r in recordings})
    for r in recordings:
        starts = sorted(segment.start for segment in chosen if segment.recording is r)
        inner = [b - a for a, b in pairwise(starts)][1:-1]
        assert all(step == segment for step in inner)
        assert all(r.start <= at <= r.stop - segment for at in starts)


def test_every_sample_occurs_at_every_position_in_a_segment_and_passes_differ():
    batches = TrainingBatches([recording(100)], 10, 1)
    starts = Counter(batches.segment(item).start for item in range(10 * 300))
    assert set(starts) == set(range(91))
    inner = [starts[at] for at in range(5, 86)]
    assert min(inner) >= 3
    assert max(inner) <= 80  # 30 expected
    first, second = ([batches.segment(p * 10 + i).start for i in range(10)] for p in (0, 1))
    assert sorted(first) != first
    assert sorted(first) != sorted(second)


@given(st.integers(0, 3), st.integers(0, 40))
def test_batch_k_is_a_function_of_seed_and_k(seed, k):
    recordings = [recording(57, 0), recording(91, 1)]
    reached = TrainingBatches(recordings, 8, 5, 3, seed)
    for before in range(k):
        reached[before]
    fresh = TrainingBatches(recordings, 8, 5, 3, seed)
    assert same(reached[k], fresh[k])
    other = TrainingBatches(recordings, 8, 5, 3, seed + 1)
    assert any(not torch.equal(reached[j].wet, other[j].wet) for j in range(3))


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_processes_share_the_stream_without_overlap(world_size):
    recordings = [recording(100, 0), recording(50, 1)]
    alone = TrainingBatches(recordings, 10, 4 * world_size)
    shares = [TrainingBatches(recordings, 10, 4, rank=rank, world_size=world_size) for rank in range(world_size)]
    for k in range(5):
        together = torch.cat([share[k].wet for share in shares])
        assert torch.equal(together, alone[k].wet)


def test_each_iteration_starts_after_the_trained_batches():
    trained = 0
    numbers = BatchNumbers(lambda: trained)
    assert list(islice(numbers, 3)) == [0, 1, 2]
    trained = 7
    assert list(islice(numbers, 2)) == [7, 8]


def module(recordings, context=0, gap=None, seed=0, **settings):
    loading = LoadingSettings(**{"segment_length": 10, "batch_size": 4, **settings})
    return AudioDataModule(dataset(*recordings), loading, context=context, gap=gap, seed=seed)


@pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker processes")  # on one core
@pytest.mark.parametrize("settings", [{}, {"num_workers": 2}, {"preload": True}])
def test_loaders_give_the_same_stream_for_any_number_of_workers(settings):
    recordings = [recording(100), recording(60, 1), recording(50, 2, part="test")]
    data = module(recordings, context=5, seed=3, split="time", **settings)
    loader = data.train_dataloader()
    wanted = TrainingBatches(data.train, 10, 4, 5, 3)
    for first in (0, 3):
        data.first_batch = first
        for k, batch in enumerate(islice(loader, 3)):
            assert same(batch, wanted[first + k])
    seen = Counter(int(-v) for batch in data.val_dataloader() for v in batch.wet.flatten())
    assert seen == Counter(int(v) for r in data.validation for v in r.dry.read(r.start, r.stop))


def test_a_dataset_smaller_than_a_batch_is_not_dropped():
    data = module([recording(30), recording(25, 1), recording(25, 2, part="test")], batch_size=16)
    assert data.batch_size == data.num_segments < 16
    assert [batch.wet.shape[0] for batch in islice(data.train_dataloader(), 3)] == [data.num_segments] * 3


def test_recordings_shorter_than_a_segment_are_noted_or_rejected():
    recordings = [recording(9), recording(40, 1), recording(12, 2, part="validation"), recording(9, 3, part="test")]
    data = module(recordings)
    assert [r.name for r in data.train] == ["r1"]
    assert "r0" in data.notes[-1]
    with pytest.raises(DataError, match="data.segment_length to 40"):
        module(recordings, segment_length=41)


def test_validation_recordings_too_short_for_the_loss_are_noted_or_rejected():
    parts = [(40, "train"), (4, "validation"), (23, "validation"), (9, "test")]
    data = module([recording(length, number, part=part) for number, (length, part) in enumerate(parts)])
    data.require(5, "the loss 'x'")
    assert [r.name for r in data.validation] == ["r2"]
    assert "r1: not used for validation" in data.notes[-1]
    assert sorted(batch.wet.shape[-1] for batch in data.val_dataloader()) == [10, 13]
    with pytest.raises(DataError, match="'x' needs at least 24 samples.*r2, has 23"):
        data.require(24, "the loss 'x'")


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning", "ignore:.*does not have many workers:UserWarning")
def test_lightning_trains_on_the_stream_in_order():
    class Recorder(LightningModule):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))
            self.seen = []

        def training_step(self, batch, index):
            self.seen.append(batch.wet.clone())
            return self.weight * 1.0

        def validation_step(self, batch, index):
            assert batch.wet.shape[-1] > 0

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    model = Recorder()
    data = module([recording(100, part="train"), recording(30, 1, part="validation"), recording(30, 2, part="test")])
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    settings = {"enable_checkpointing": False, "use_distributed_sampler": False, "limit_train_batches": 3}
    Trainer(max_epochs=3, accelerator="cpu", **settings, **quiet).fit(model, datamodule=data)
    wanted = TrainingBatches(data.train, 10, 4)
    assert len(model.seen) == 9
    assert all(torch.equal(seen, wanted[k].wet) for k, seen in enumerate(model.seen))
