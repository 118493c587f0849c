"""The contract of a model."""

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

    ``model(audio, controls)`` is *offline*: the whole signal from the start of a file, latency compensated.
    ``model(audio, controls, state)`` is *stream*: continues from `state`; its output lags by `latency`.
    Both return the output and the state after it. Streaming the blocks of a signal from
    ``initial_state(...)``, then `flush`, and dropping the first `latency` samples gives the offline output.

    Most states forget: from inside a file, a model that has heard enough of the preceding audio continues as from the
    file's beginning. A state that never forgets (an oscillator's phase) needs its position in the file. Such
    a model sets ``remembers_position = True`` and takes a third argument in its initial state,
    ``initial_state(batch_size, controls=None, start=0)``; see `nablafx_core.interfaces.position.Start`.

    Attributes:
        sample_rate: Hz that it was made for.
        in_channels: channels of its input; a mono model is run on each channel by itself where audio is rendered.
        out_channels: channels of its output.
        controls: the knobs, in the order of the second axis of `controls` tensors.
        latency: samples by which the stream lags the offline output; 0 is real time.
        receptive_field: samples of input that one output sample depends on; None if unbounded (recurrent).
        recurrent: True if its conditioning has unbounded memory despite a finite receptive field.
        causal: whether output n (before latency) depends on no input after n.
        streams: False for a model that needs the whole file; it has no state and says so.
        remembers_position: whether its output depends on where in the file a sample stands; `initial_state` then takes
            `start`.
        default_tbptt: chunk length in samples for truncated backpropagation where training does not set one.
        section: the registry name and settings from which it was built; what a bundle stores.
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
        """The state at the start of a file: zero history, the pre-roll of padded models done.

        A model that declares `remembers_position` takes a third argument, ``start: Start = 0``, the position of the
        first sample that it will be given. `nablafx_core.interfaces.position.state_at`
        passes it.

        Args:
            batch_size: number of items.
            controls: (batch, num_controls) at the first sample; defaults of the knobs if None.
        """
        raise ModelError(f"{type(self).__name__} needs the whole file and has no stream. Render it offline.")

    def forward(
        self, audio: Tensor, controls: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Process audio (batch, in_channels, time) to (batch, out_channels, time), offline or stream."""
        raise NotImplementedError

    def offline(self, audio: Tensor, controls: Tensor | None = None, start: Start = 0) -> Tensor:
        """Return the offline output of audio that begins at sample `start` of its file.

        It is ``model(audio, controls)[0]`` unless the model declares `remembers_position`: then the stream from
        ``initial_state(…, start=start)``, flushed, without its first `latency` samples.

        Args:
            audio: (batch, in_channels, time).
            controls: (batch, num_controls) or (batch, num_controls, time).
            start: position of the first sample; an int, or an integer tensor (batch,).

        Returns:
            (batch, out_channels, time).
        """
        if not self.remembers_position:
            out: Tensor = self(audio, controls)[0]
            return out
        first = controls[..., 0] if controls is not None and controls.ndim == 3 else controls
        out, after = self(audio, controls, state_at(self, audio.shape[0], first, start))
        return torch.cat([out, self.flush(after)], dim=-1)[..., self.latency :] if self.latency else out

    def flush(self, state: State) -> Tensor:
        """The last `latency` samples of a stream, (batch, out_channels, latency).

        A model with latency overrides this, or keeps its last controls under the state's key ``"controls"``.
        """
        some = next(iter(state.values()), torch.zeros(1))  # a model without latency may have no state at all
        batch_size, dtype = some.shape[0], next((v.dtype for v in state.values() if v.is_floating_point()), None)
        zeros = torch.zeros(batch_size, self.in_channels, self.latency, dtype=dtype, device=some.device)
        if self.latency == 0:
            return zeros.new_zeros(batch_size, self.out_channels, 0)
        tail: Tensor = self(zeros, state.get("controls"), state)[0]
        return tail

    def history(self, warm_up: int) -> int:
        """Samples that should go before a sample inside a file, so that it comes out as from the file's start.

        Args:
            warm_up: number of samples that is enough for an unbounded memory.
        """
        past = 0 if self.receptive_field is None else self.receptive_field - 1
        return max(past, warm_up) if self.recurrent or self.receptive_field is None else past

    def checked_controls(self, audio: Tensor, controls: Tensor | None) -> Tensor | None:
        """Controls of the right shape, on the right device: the knobs' defaults where None, None without knobs.

        Raises:
            ModelError: if audio or controls have a shape that the model cannot use.
        """
        if audio.ndim != 3 or audio.shape[1] != self.in_channels:
            raise ModelError(
                f"{type(self).__name__} takes audio of shape (batch, {self.in_channels}, time), "
                f"not {tuple(audio.shape)}."
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
                f"{type(self).__name__} has {count} controls ({names}); it takes controls of shape {wanted} "
                f"for a batch of {batch_size}, not {tuple(controls.shape)}."
            )
        if controls.ndim == 3 and time is not None and controls.shape[2] != time:
            raise ModelError(f"controls of {controls.shape[2]} samples were given for {time} samples of audio.")
        return controls.to(dtype=like.dtype, device=like.device) if count else None
