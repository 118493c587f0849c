"""Contract of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nablafx_core.controls import Control
from nablafx_core.errors import ModelError
from nablafx_core.interfaces.declared import ChecksSettings
from nablafx_core.interfaces.position import Start, state_at
from nablafx_core.state import State


class Model(nn.Module, ChecksSettings):
    """An audio effect that can be trained, streamed, saved and exported.

    ``model(audio, controls)`` is *offline*: it takes the whole signal from the start of a file, and compensates the
    latency. ``model(audio, controls, state)`` is *stream*: it continues from `state`, and its output lags by `latency`.
    Both return the output and the state after it. Streaming the blocks of a signal from ``initial_state(...)``, then
    calling `flush`, and dropping the first `latency` samples gives the offline output.

    The states of most models forget: a model that starts inside a file, and has received enough of the preceding audio,
    continues as if it had started at the file's beginning. A state that never forgets (an oscillator's phase) needs its
    position in the file. Such a model sets ``remembers_position = True``, and its initial state takes a third argument,
    ``initial_state(batch_size, controls=None, start=0)``; see `nablafx_core.interfaces.position.Start`.

    Attributes:
        sample_rate: sample rate in Hz for which it was made.
        in_channels: number of input channels; for rendering, a mono model is applied to each channel separately.
        out_channels: number of output channels.
        controls: knobs, in the order of the second axis of `controls` tensors.
        latency: number of samples by which the stream lags the offline output; 0 for real time.
        receptive_field: number of input samples that one output sample depends on; None if unbounded (recurrent).
        recurrent: true if its conditioning has unbounded memory despite a finite receptive field.
        causal: true if output sample n (before latency) does not depend on any input sample after n.
        streams: false if the model needs the whole file; it then has no state, and `initial_state` raises ModelError.
        remembers_position: true if its output depends on the position of a sample in the file; `initial_state` then
            takes `start`.
        default_tbptt: chunk length in samples for truncated backpropagation if the experiment does not set one.
        section: registry name and settings from which it was built, as a bundle stores them.
    """

    in_channels: int = 1
    out_channels: int = 1
    latency: int = 0
    receptive_field: int | None = None
    recurrent: bool = False
    causal: bool = True
    streams: bool = True
    remembers_position: bool = False
    default_tbptt: ClassVar[int | None] = None
    section: dict[str, Any]

    def __init__(self, sample_rate: int = 48000, controls: Sequence[Control] = ()) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.controls = tuple(controls)

    def initial_state(self, batch_size: int, controls: Tensor | None = None) -> State:
        """Return the state at the start of a file: zero history, after the pre-roll of models with padding.

        A model that declares `remembers_position` takes a third argument, ``start: Start = 0``, the position of the
        first sample that it will receive. `nablafx_core.interfaces.position.state_at` passes it.

        Args:
            batch_size: number of items.
            controls: knobs of shape (batch, num_controls) at the first sample; the knobs' defaults if None.

        Raises:
            ModelError: if the model does not stream.
        """
        raise ModelError(f"{type(self).__name__} needs the whole file and has no stream. Render it offline.")

    def forward(
        self, audio: Tensor, controls: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Process audio (batch, in_channels, time) to (batch, out_channels, time).

        Args:
            audio: audio of shape (batch, in_channels, time).
            controls: knobs of shape (batch, num_controls) or (batch, num_controls, time); the defaults if None.
            state: state after the previous audio of a stream; None to process a whole file offline.

        Returns:
            The output, which lags by `latency` if `state` is given, and the state after it.
        """
        raise NotImplementedError

    def offline(self, audio: Tensor, controls: Tensor | None = None, start: Start = 0) -> Tensor:
        """Return the offline output of audio that begins at sample `start` of its file.

        It is ``model(audio, controls)[0]`` unless the model declares `remembers_position`: then the stream from
        ``initial_state(…, start=start)``, flushed, without its first `latency` samples.

        Args:
            audio: audio of shape (batch, in_channels, time).
            controls: knobs of shape (batch, num_controls) or (batch, num_controls, time).
            start: position of the first sample; an int, or an integer tensor of shape (batch,).

        Returns:
            Audio of shape (batch, out_channels, time).
        """
        if not self.remembers_position:
            out: Tensor = self(audio, controls)[0]
            return out
        first = controls[..., 0] if controls is not None and controls.ndim == 3 else controls
        out, after = self(audio, controls, state_at(self, audio.shape[0], first, start))
        return torch.cat([out, self.flush(after)], dim=-1)[..., self.latency :] if self.latency else out

    def flush(self, state: State) -> Tensor:
        """Return the last `latency` samples of a stream, of shape (batch, out_channels, latency).

        A model with latency overrides this, or stores its last controls in the state under the key ``"controls"``.
        """
        some = next(iter(state.values()), torch.zeros(1))  # a model without latency may have no state at all
        batch_size, dtype = some.shape[0], next((v.dtype for v in state.values() if v.is_floating_point()), None)
        zeros = torch.zeros(batch_size, self.in_channels, self.latency, dtype=dtype, device=some.device)
        if self.latency == 0:
            return zeros.new_zeros(batch_size, self.out_channels, 0)
        tail: Tensor = self(zeros, state.get("controls"), state)[0]
        return tail

    def history(self, warm_up: int) -> int:
        """Return the number of preceding samples that make the output inside a file equal to that from its start.

        It is the receptive field minus 1; for a model with unbounded memory, `warm_up` if that is larger, after which
        the output is nearly equal.

        Args:
            warm_up: number of samples that is sufficient for an unbounded memory.
        """
        past = 0 if self.receptive_field is None else self.receptive_field - 1
        return max(past, warm_up) if self.recurrent or self.receptive_field is None else past

    def checked_controls(self, audio: Tensor, controls: Tensor | None) -> Tensor | None:
        """Check the shapes of audio and controls, and return the controls on the audio's device and in its dtype.

        The values of the controls are not checked.

        Args:
            audio: audio of shape (batch, in_channels, time).
            controls: knobs of shape (batch, num_controls) or (batch, num_controls, time).

        Returns:
            The controls; the knobs' defaults, (batch, num_controls), for None; None for a model without knobs.

        Raises:
            ModelError: if audio or controls do not have the shape that the model expects.
        """
        if audio.ndim != 3 or audio.shape[1] != self.in_channels:
            raise ModelError(
                f"{type(self).__name__} expects audio of shape (batch, {self.in_channels}, time), "
                f"got {tuple(audio.shape)}."
            )
        return self._controls_for(audio.shape[0], controls, audio.shape[-1], audio)

    def _controls_for(
        self, batch_size: int, controls: Tensor | None, time: int | None, like: Tensor | None = None
    ) -> Tensor | None:
        count = len(self.controls)
        if like is None:
            like = next(self.parameters(), torch.zeros(()))
        if controls is None:
            if count == 0:
                return None
            defaults = [control.default_unit for control in self.controls]
            return torch.tensor(defaults, dtype=like.dtype, device=like.device).expand(batch_size, count)
        names = ", ".join(control.name for control in self.controls) or "none"
        wanted = f"(batch, {count}) or (batch, {count}, time)"
        if controls.ndim not in (2, 3) or controls.shape[:2] != (batch_size, count):
            raise ModelError(
                f"{type(self).__name__} has {count} controls ({names}); expected controls of shape {wanted} "
                f"for a batch of {batch_size}, got {tuple(controls.shape)}."
            )
        if controls.ndim == 3 and time is not None and controls.shape[2] != time:
            raise ModelError(
                f"{type(self).__name__}: expected controls of {time} samples, as many as the audio, "
                f"got {controls.shape[2]}."
            )
        return controls.to(dtype=like.dtype, device=like.device) if count else None
