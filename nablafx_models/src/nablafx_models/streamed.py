"""What the architectures share: conditions, the offline output from the stream, samples that wait for a block."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from nablafx_core.controls import Control
from nablafx_core.interfaces import Model
from nablafx_core.nn.norm import running_statistics
from nablafx_core.state import State, joined, scoped
from nablafx_models.conditioning.interface import Condition
from nablafx_models.conditioning.table import Conditioned, first_sample, last_sample, over_time, with_condition


class Flow(NamedTuple):
    """As many samples of a signal inside a model as there are by now.

    Args:
        values: (batch, channels, time).
        lag: samples by which the last of them trails the newest sample of the audio.
    """

    values: Tensor
    lag: int

    def line(self, kept: Tensor, like: Flow, delay: int = 0) -> tuple[Tensor, Tensor]:
        """A delay line of no fixed length.

        Args:
            kept: what the call before kept.
            like: the flow that this one is to meet, which may trail it.
            delay: samples by which this one is to be late besides.

        Returns:
            The samples that stand `delay` samples before those of `like`, and what is kept for later.
        """
        whole = torch.cat((kept, self.values), dim=-1) if kept.shape[-1] else self.values
        stop = max(whole.shape[-1] - (like.lag - self.lag + delay), 0)
        return whole[..., stop - like.values.shape[-1] : stop], whole[..., stop:].clone()


class Conditions:
    """The condition of each layer for the samples of one call.

    Args:
        shared: what the model's conditioner gave, or the controls.
        whole: `shared` with what came before, (batch, channels, latency + time), where layers trail the audio.
        each: steps of single layers in the place of `shared`.
    """

    def __init__(self, shared: Condition, whole: Tensor | None = None, each: Sequence[Condition] | None = None) -> None:
        self.shared = shared
        self._whole = whole
        self._each = each

    def of(self, layer: int, lag: int) -> Condition:
        """The condition of a layer whose samples end `lag` samples before the audio does."""
        if self._whole is not None:
            return self._whole[..., : self._whole.shape[-1] - lag]
        return self.shared if self._each is None else self._each[layer]


class StreamedModel(Model):
    """A model whose offline output is its stream, from the start of a file, and what is left at the end.

    Parts of it may hold samples back until a block is complete. What comes out in bursts then waits in the state's
    ``ready``, so that every call returns as many samples as it was given, `latency` samples late.

    A subclass sets `latency` and implements `_run` and `_empty`. Before a file begins, `pre_roll` samples of silence
    run through it, of which `_swallowed` give no output.

    Args:
        sample_rate: Hz.
        controls: the knobs.
        conditioned: how the controls enter.
    """

    pre_roll: int = 0
    _swallowed: int = 0
    _silence_after: int = 0

    def __init__(self, sample_rate: int, controls: Sequence[Control], conditioned: Conditioned) -> None:
        super().__init__(sample_rate, controls)
        self._conditioned = conditioned
        self.cond_nn = conditioned.build_conditioner()

    @abstractmethod
    def _empty(self, like: Tensor) -> State:
        """The state before anything, without the conditioner's.

        Args:
            like: (batch, ...), of the weights' kind.
        """

    @abstractmethod
    def _run(
        self,
        audio: Tensor,
        controls: Tensor | None,
        state: State,
        *,
        final: bool = False,
        constant: bool = False,
        length: int = 0,
    ) -> tuple[Tensor, State]:
        """What can be computed by now, and the state after it.

        Args:
            audio: (batch, 1, time).
            controls: (batch, num_controls) or (batch, num_controls, time).
            state: from `_start` or the call before.
            final: nothing follows.
            constant: the controls have been these since the start of the file.
            length: of the whole file in samples where it is known; 0 in a stream.
        """

    def _start(self, batch_size: int, controls: Tensor | None, length: int = 0) -> State:
        """The state after the silence before a file; (batch_size, ...) or, where all items are alike, (1, ...)."""
        alike = 1 if controls is None else batch_size  # without knobs every item hears the same silence
        silence = next(self.parameters()).new_zeros(alike, 1, self.pre_roll)
        state = self._empty(silence)
        if self.cond_nn is not None:
            state |= joined({"cond_nn": self.cond_nn.initial_state(alike)})
        with running_statistics(self):
            out, state = self._run(silence, controls, state, constant=True, length=length)
        if self.latency:  # what is held back of the pre-roll comes out with the first samples
            held = self.pre_roll - self._swallowed - out.shape[-1]
            state["ready"] = silence.new_zeros(alike, 1, self.latency - held)
        return {key: value.expand(batch_size, *value.shape[1:]) for key, value in state.items()}

    def initial_state(self, batch_size: int, controls: Tensor | None = None) -> State:
        """The state at the start of a file."""
        controls = first_sample(self._controls_for(batch_size, controls, None))
        return {key: value.contiguous() for key, value in self._start(batch_size, controls).items()}

    def forward(
        self, audio: Tensor, controls: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Process audio (batch, 1, time) to (batch, 1, time), offline or stream; see `Model`."""
        controls = self.checked_controls(audio, controls)
        time = audio.shape[-1]
        if state is not None:
            return self._emitted(*self._run(audio, controls, state), state, time)
        constant = controls is None or controls.ndim == 2
        start = self._start(audio.shape[0], first_sample(controls), time)
        out, after = self._run(audio, controls, start, constant=constant, length=time)
        if self.latency:
            last = None if controls is None else last_sample(controls)
            silence = audio.new_zeros(audio.shape[0], 1, self._silence_after)
            rest = self._run(silence, last, after, final=True, constant=constant, length=time)[0]
            _, after = self._emitted(out, after, start, time)
            out = torch.cat((out, rest), dim=-1)
        return out[..., out.shape[-1] - time :], after

    def flush(self, state: State) -> Tensor:
        """The last `latency` samples of a stream, (batch, 1, latency)."""
        batch_size = next(iter(state.values())).shape[0]
        silence = next(self.parameters()).new_zeros(batch_size, 1, self._silence_after if self.latency else 0)
        if not self.latency:
            return silence
        rest = self._run(silence, state.get("controls"), state, final=True)[0]
        return torch.cat((state["ready"], rest), dim=-1) if "ready" in state else rest

    def _emitted(self, out: Tensor, after: State, before: State, time: int) -> tuple[Tensor, State]:
        """As many samples as went in."""
        if "ready" not in before:
            return out, after
        ready = torch.cat((before["ready"], out), dim=-1)
        return ready[..., :time], after | {"ready": ready[..., time:].clone()}

    def _conditions(
        self, audio: Tensor, controls: Tensor | None, state: State, final: bool, constant: bool, length: int
    ) -> tuple[Flow, Conditions, State]:
        """What the first layer receives, the conditions of all layers, and the state."""
        flow, shared, each, after = self._conditioner(audio, controls, state, final, length)
        appended = self._conditioned.chosen.appended
        after |= self._remembered(controls, shared, state, audio.shape[-1], constant)
        whole = None
        if "condition" in state and isinstance(shared, Tensor) and not constant:
            whole = torch.cat((state["condition"], over_time(shared, audio.shape[-1])), dim=-1)
        if appended:
            flow = Flow(with_condition(flow.values, shared), flow.lag)
        return flow, Conditions(None if appended else shared, whole, each), after

    def _conditioner(
        self, audio: Tensor, controls: Tensor | None, state: State, final: bool, length: int
    ) -> tuple[Flow, Condition, Sequence[Condition] | None, State]:
        """The audio that can be processed, its condition, those of single layers if they differ, and the state."""
        if self.cond_nn is None:
            return Flow(audio, 0), controls, None, {}
        ready, condition, after = self.cond_nn(audio, controls, scoped(state, "cond_nn"), final)
        lag = 0 if final else self.cond_nn.held(after)
        return Flow(ready, lag), condition, None, joined({"cond_nn": after})

    def _remembered(
        self, controls: Tensor | None, condition: Condition, state: State, time: int, constant: bool
    ) -> State:
        """The last controls, and the conditions of the samples that are still on their way."""
        if not self.latency or controls is None:
            return {}
        kept = {"controls": last_sample(controls) if time or controls.ndim == 2 else state["controls"]}
        if isinstance(condition, Tensor) and self._conditioned.chosen.modulation:
            if constant:
                return kept | {"condition": over_time(last_sample(condition), self.latency)}
            whole = torch.cat((state["condition"], over_time(condition, time)), dim=-1)
            kept["condition"] = whole[..., whole.shape[-1] - self.latency :].clone()
        return kept
