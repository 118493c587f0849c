"""Render whole recordings through a model in blocks, with the left context from their files."""

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
"""Left context in seconds of a recording that starts inside a file, for a model with unbounded memory."""


def rendered(recording: Recording, model: Model, block_size: int, warm_up_seconds: float) -> Iterator[Tensor]:
    """Yield the output of a model for the samples `start` to `stop` of a recording, as blocks (1, channels, time).

    The latency is compensated. The model also receives left context from the file before `recording.start`, as far as
    there is any: its receptive field, or `warm_up_seconds` if its memory is unbounded. A model that remembers its
    position receives the position of the first sample of this context. A model that cannot stream receives the
    recording and its context at once; otherwise memory does not grow with the file. Gradients must be off.

    Args:
        recording: recording to render.
        model: model in eval mode; the audio is moved to its device.
        block_size: number of samples of a streamed block.
        warm_up_seconds: left context in seconds for a model with unbounded memory.
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
    """Return start and stop of the samples for the model: the recording's own, and the context that it needs.

    The context ends where the file does. It also covers the latency or, if the model cannot stream, the samples of its
    receptive field after `recording.stop`.
    """
    total, field = recording.dry.num_samples, model.receptive_field
    before = model.history(round(warm_up_seconds * model.sample_rate))
    after = model.latency if model.streams else total if field is None else field - 1
    first = aligned(model, max(0, recording.start - before))
    return first, min(total, recording.stop + after)


def _streamed(streamer: Streamer, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
    yield from map(streamer.push, blocks)
    yield streamer.flush()


def _samples(blocks: Iterable[Tensor], skip: int, count: int) -> Iterator[Tensor]:
    """Yield `count` samples after the first `skip` samples."""
    for block in blocks:
        part = block[..., skip : skip + count]
        skip, count = max(0, skip - block.shape[-1]), count - part.shape[-1]
        if part.shape[-1]:
            yield part
        if not count:
            return
