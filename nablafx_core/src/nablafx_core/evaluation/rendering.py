"""Whole recordings through a model, piece by piece, with the left context that they have on disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from nablafx_core.interfaces import Model, Recording
from nablafx_core.interfaces.dataset import read_channels
from nablafx_core.interfaces.position import aligned
from nablafx_core.playing.blocks import like_of
from nablafx_core.playing.streaming import Streamer

WARM_UP_SECONDS = 10.0
"""Left context of a recording that begins inside a file, for a model with unbounded memory."""


def rendered(recording: Recording, model: Model, block_size: int, warm_up_seconds: float) -> Iterator[Tensor]:
    """Render the samples of `recording` that count, in order, as blocks (1, channels, time).

    The model hears what comes before `recording.start`: its receptive field, or `warm_up_seconds` if that is
    unbounded; from the file's start where that is nearer. A model that remembers its position is given that of the
    first sample that it hears. Memory does not grow with the file, except for a model that has no stream. `model` is in
    eval mode and gradients are off.
    """
    like, controls = like_of(model), None
    if model.controls and recording.controls:
        controls = torch.tensor([recording.controls], dtype=like.dtype, device=like.device)
    first, last = _context(recording, model, warm_up_seconds)
    blocks = (
        read_channels(recording.dry, start, min(start + block_size, last)).to(like)[None]
        for start in range(first, last, block_size)
    )
    position = recording.offset + first
    if model.streams:
        output, skip = _streamed(Streamer(model, controls, position), blocks), recording.start - first + model.latency
    else:
        whole = torch.cat(list(blocks), dim=-1)
        output, skip = iter([model.offline(whole, controls, position)]), recording.start - first
    return _samples(output, skip, recording.num_samples)


def _context(recording: Recording, model: Model, warm_up_seconds: float) -> tuple[int, int]:
    """The samples that the model is given; more than those that count, where the file has more."""
    total, field = recording.dry.num_samples, model.receptive_field
    before = model.history(round(warm_up_seconds * model.sample_rate))
    after = model.latency if model.streams else total if field is None else field - 1
    first = aligned(model, max(0, recording.start - before))
    return first, min(total, recording.stop + after)


def _streamed(streamer: Streamer, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
    yield from map(streamer.push, blocks)
    yield streamer.flush()


def _samples(blocks: Iterable[Tensor], skip: int, count: int) -> Iterator[Tensor]:
    """`count` samples after the first `skip`."""
    for block in blocks:
        part = block[..., skip : skip + count]
        skip, count = max(0, skip - block.shape[-1]), count - part.shape[-1]
        if part.shape[-1]:
            yield part
        if not count:
            return
