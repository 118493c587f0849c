"""Render audio with a model block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from nablafx_core.errors import ModelError
from nablafx_core.interfaces import Model, Start
from nablafx_core.interfaces.position import state_at
from nablafx_core.state import State


class Streamer:
    """Run a model block by block, for example in an audio callback.

    For each block, `push` returns a block of the same length, delayed by `model.latency` samples. A mono model
    processes each channel separately. No gradients are recorded. The first block sets the batch size and the channels.

    Args:
        model: model in eval mode.
        controls: positions of the knobs in [0, 1], (batch, num_controls), or (num_controls,) for all items; the
            defaults if None. Assign a new tensor to the attribute `controls` to turn knobs between blocks; a tensor
            that is changed in place is not checked again.
        start: position of the first sample in its file in samples, for a model that remembers its position; an int, or
            an integer tensor (batch,).

    Attributes:
        state: state of the model; None before the first block.

    Raises:
        ModelError: if the model cannot stream.
    """

    def __init__(self, model: Model, controls: Tensor | None = None, start: Start = 0) -> None:
        if not model.streams:
            raise ModelError(f"{type(model).__name__} needs the whole file and cannot stream. Render it offline.")
        self.model = model
        self.controls = controls
        self.start = start
        self.state: State | None = None
        self._shape = (0, 0)
        self._voices = 1
        self._checked: Tensor | None = None
        self._nothing = torch.zeros(0)

    @torch.no_grad()
    def push(self, block: Tensor, controls: Tensor | None = None) -> Tensor:
        """Process a block; an empty one is returned unchanged.

        Args:
            block: audio, (batch, channels, time); any number of channels for a mono model, else `model.in_channels`.
            controls: positions of the knobs for this block only, in place of the attribute `controls`; also automation,
                (batch, num_controls, time).

        Returns:
            Audio, (batch, `model.out_channels`, time); from a mono model, as many channels for each channel of `block`.

        Raises:
            ModelError: if the block has another number of dimensions or, after the first one, another batch size or
                number of channels; if the model rejects the shape of the block or of the controls; or if a knob is
                outside [0, 1].
        """
        if block.ndim != 3 or (self.state is not None and tuple(block.shape[:2]) != self._shape):
            like = f" with (batch, channels) = {self._shape}, as in the first block" if self.state is not None else ""
            raise ModelError(f"the block has shape {tuple(block.shape)}; expected (batch, channels, time){like}.")
        if block.shape[-1] == 0:
            return block
        self._shape = (block.shape[0], block.shape[1])
        self._voices = block.shape[1] if self.model.in_channels == 1 else 1
        folded = self._fold(block)
        knobs = self._knobs(self.controls if controls is None else controls)
        if self.state is None:
            first = knobs[..., 0] if knobs is not None and knobs.ndim == 3 else knobs
            begun = self.start
            if isinstance(begun, Tensor) and begun.ndim:
                begun = begun.repeat_interleave(self._voices)
            self.state = state_at(self.model, folded.shape[0], first, begun)
        out, self.state = self.model(folded, knobs, self.state)
        out = self._unfold(out)
        self._nothing = out[..., :0]
        return out

    @torch.no_grad()
    def flush(self) -> Tensor:
        """Return the last `latency` samples of the output, (batch, channels, latency), as if zeros followed the input.

        The state of the stream does not change.

        Raises:
            ModelError: if no block was pushed before.
        """
        if self.state is None:
            raise ModelError("the stream cannot be flushed before its first block. Push a block first.")
        if self.model.latency == 0:
            return self._nothing
        return self._unfold(self.model.flush(self.state))

    def _fold(self, audio: Tensor) -> Tensor:
        """Move channels into the batch, for a mono model."""
        return audio.reshape(-1, 1, audio.shape[-1]) if self._voices > 1 else audio

    def _unfold(self, audio: Tensor) -> Tensor:
        """Move the output of a mono model's voices from the batch back into the channels."""
        return audio.reshape(self._shape[0], self._voices * audio.shape[1], audio.shape[-1])

    def _knobs(self, controls: Tensor | None) -> Tensor | None:
        """Check controls, and repeat them for the items and voices of the folded audio."""
        if controls is None:
            return None
        if controls is not self._checked:  # not for each block: on a GPU the check waits for pending work
            check_positions(self.model, controls)
            self._checked = controls
        if controls.ndim == 1:
            controls = controls.expand(self._shape[0], -1)
        return controls.repeat_interleave(self._voices, dim=0)


def check_positions(model: Model, controls: Tensor) -> None:
    """Check that the positions of all knobs are in [0, 1].

    Args:
        model: model that has the knobs.
        controls: positions, (num_controls,), (batch, num_controls) or (batch, num_controls, time).

    Raises:
        ModelError: if a value is outside [0, 1] or NaN; the message names the first such knob.
    """
    wrong = ~((controls >= 0) & (controls <= 1))
    if not wrong.any():
        return
    first = tuple(int(place[0]) for place in wrong.nonzero(as_tuple=True))
    knob = first[0] if controls.ndim == 1 else first[1]
    name = model.controls[knob].name if knob < len(model.controls) else f"number {knob}"
    raise ModelError(
        f"control '{name}' is at {float(controls[first]):g}; {type(model).__name__} expects values in [0, 1]. "
        "Control.parse converts a value with a unit."
    )


def stream_blocks(
    model: Model,
    audio: Tensor,
    controls: Tensor | None = None,
    block_size: int | Sequence[int] = 512,
    start: Start = 0,
) -> Tensor:
    """Compute ``model.offline(audio, controls, start)`` block by block.

    Args:
        model: model in eval mode; a mono model processes each channel separately.
        audio: audio, (batch, channels, time).
        controls: positions of the knobs, (batch, num_controls), (num_controls,) or, as automation,
            (batch, num_controls, time).
        block_size: number of samples per block, or the lengths of the blocks, of which the last one is repeated.
        start: position of the first sample in its file; see `Streamer`.

    Returns:
        Audio, (batch, channels, time), aligned with the input, with the channels of `Streamer.push`; audio without
        samples is returned unchanged.

    Raises:
        ModelError: if there is no block length, one is negative, or the last one is below 1; and as for `Streamer` and
            `Streamer.push`.
    """
    streamer = Streamer(model, controls, start)
    parts = []
    for block in _blocks(audio.shape[-1], block_size):
        moving = controls[..., block] if controls is not None and controls.ndim == 3 else None
        parts.append(streamer.push(audio[..., block], moving))
    if not parts:
        return audio
    parts.append(streamer.flush())
    return torch.cat(parts, dim=-1)[..., model.latency :]


def _blocks(time: int, block_size: int | Sequence[int]) -> Iterator[slice]:
    """Yield the sample ranges of the blocks of `stream_blocks`."""
    lengths = [block_size] if isinstance(block_size, int) else list(block_size)
    if not lengths or min(lengths) < 0 or lengths[-1] < 1:
        raise ModelError(f"block_size is {block_size}; expected at least 1 sample, of several lengths in the last.")
    start = 0
    while start < time:
        length = lengths.pop(0) if len(lengths) > 1 else lengths[0]
        yield slice(start, min(time, start + length))
        start += length
