"""Base of the architectures: conditions, offline output from the stream, samples that are held back."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, ClassVar, NamedTuple

import torch
from torch import Tensor

from nablafx_core.controls import Control
from nablafx_core.interfaces import Model
from nablafx_core.marks import Range
from nablafx_core.nn.norm import running_statistics
from nablafx_core.state import State, joined, scoped
from nablafx_models.conditioning.concatenated import append_condition
from nablafx_models.conditioning.interface import BlockSettings, Condition, over_time
from nablafx_models.conditioning.selection import select_conditioning
from nablafx_models.conditioning.table import ConditioningName


class Flow(NamedTuple):
    """The new samples of a signal inside a model.

    Args:
        values: (batch, channels, time).
        lag: number of samples by which the last of them lags the newest sample of the audio.
    """

    values: Tensor
    lag: int

    def line(self, kept: Tensor, like: Flow, delay: int = 0) -> tuple[Tensor, Tensor]:
        """Delay this flow until it is aligned with another one, which may lag this one.

        Args:
            kept: samples that the call before returned to keep, (batch, channels, any length).
            like: the other flow.
            delay: number of samples by which this flow is delayed relative to `like`.

        Returns:
            As many samples as `like` has, each from `delay` samples before that of `like`; and the later samples, to
            keep for the next call.
        """
        whole = torch.cat((kept, self.values), dim=-1) if kept.shape[-1] else self.values
        stop = max(whole.shape[-1] - (like.lag - self.lag + delay), 0)
        return whole[..., stop - like.values.shape[-1] : stop], whole[..., stop:].clone()


class Conditions:
    """The conditions of all layers for the samples of one call.

    Args:
        shared: output of the model's Conditioner, or the controls; None if layers have no condition.
        whole: `shared` with the samples before it, (batch, size, latency + time), if it varies per sample and layers
            lag the audio; otherwise None.
        each: steps of each layer, used instead of `shared`; None if all layers share them.
    """

    def __init__(self, shared: Condition, whole: Tensor | None = None, each: Sequence[Condition] | None = None) -> None:
        self.shared = shared
        self._whole = whole
        self._each = each

    def of(self, layer: int, lag: int) -> Condition:
        """Return the condition of a layer whose last sample lags the audio by `lag` samples.

        A condition with a time axis ends with this sample, and may begin before the layer's new samples.
        """
        if self._whole is not None:
            return self._whole[..., : self._whole.shape[-1] - lag]
        return self.shared if self._each is None else self._each[layer]


class StreamedModel(Model):
    """A model whose offline output is its stream from the start of a file and the flushed rest, without the latency.

    Layers may hold samples back until a block is complete and then return many at once. Output that comes early waits
    in the state under ``ready``, so that every call returns as many samples as it receives, `latency` samples late.

    A subclass sets `latency` and implements `_run` and `_empty`. Before a file, the model processes `pre_roll` samples
    of silence, of which `_pre_roll_without_output` give no output. After a file, it processes `_silence_after` samples
    of silence.

    Args:
        lookahead: compute the condition of a block from the block itself, which adds latency; otherwise from the block
            before it, without latency. For conditionings that work in blocks.
        cond_block_size: samples of a block, for conditionings that work in blocks.
        cond_num_layers: number of recurrent layers, for conditionings that work in blocks.
        sample_rate: sample rate in Hz.
        controls: knobs of the model.

    Raises:
        ModelError: if a setting of the blocks is below 1, the model does not offer the conditioning, or the
            conditioning and the controls cannot be combined.
    """

    #: False for an architecture whose layers cannot be modulated.
    modulates: ClassVar[bool] = True
    pre_roll: int = 0
    _pre_roll_without_output: int = 0
    _silence_after: int = 0

    def __init__(
        self,
        *,
        conditioning: ConditioningName = "none",
        lookahead: bool = True,
        cond_block_size: Annotated[int, Range(1, 65_536)] = 128,
        cond_num_layers: Annotated[int, Range(1, 16)] = 1,
        sample_rate: int = 48000,
        controls: Sequence[Control] = (),
    ) -> None:
        super().__init__(sample_rate, controls)
        blocks = BlockSettings(cond_block_size, lookahead, cond_num_layers)
        name = type(self).__name__
        self._conditioning = select_conditioning(name, conditioning, len(controls), blocks, modulates=self.modulates)
        self.cond_nn = self._conditioning.build_conditioner()

    @abstractmethod
    def _empty(self, like: Tensor) -> State:
        """Return the state before any sample, without that of the Conditioner.

        Args:
            like: tensor (batch, ...) with the dtype and device of the weights.
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
        """Return the output that can be computed now, and the state after it.

        Args:
            audio: (batch, 1, time).
            controls: (batch, num_controls) or (batch, num_controls, time); None without controls.
            state: from `_start` or the call before.
            final: True if no audio follows.
            constant: True if the controls have had these values since the start of the file.
            length: samples of the whole file; 0 in a stream, where it is unknown.
        """

    def _start(self, batch_size: int, controls: Tensor | None, length: int = 0) -> State:
        """Return the state after the silence before a file; its tensors may be views that share memory.

        Args:
            batch_size: first dimension of the tensors.
            controls: (batch_size, num_controls), held during the silence; None without controls.
            length: samples of the whole file; 0 in a stream, where it is unknown.
        """
        distinct = 1 if controls is None else batch_size  # without controls, all items process the same silence
        silence = next(self.parameters()).new_zeros(distinct, 1, self.pre_roll)
        state = self._empty(silence)
        if self.cond_nn is not None:
            state |= joined({"cond_nn": self.cond_nn.initial_state(distinct)})
        with running_statistics(self):
            out, state = self._run(silence, controls, state, constant=True, length=length)
        if self.latency:  # the part of the pre-roll that is held back comes out with the first samples
            held = self.pre_roll - self._pre_roll_without_output - out.shape[-1]
            state["ready"] = silence.new_zeros(distinct, 1, self.latency - held)
        return {key: value.expand(batch_size, *value.shape[1:]) for key, value in state.items()}

    def initial_state(self, batch_size: int, controls: Tensor | None = None) -> State:
        """Return the state at the start of a file, after the pre-roll; see `Model.initial_state`.

        Raises:
            ModelError: if the controls do not have the expected shape.
        """
        controls = _first_sample(self._controls_for(batch_size, controls, None))
        return {key: value.contiguous() for key, value in self._start(batch_size, controls).items()}

    def forward(
        self, audio: Tensor, controls: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Process audio (batch, 1, time) to (batch, 1, time): offline if `state` is None, otherwise as a stream.

        Returns:
            The output, and the state with which a stream continues after the audio; see `Model`.

        Raises:
            ModelError: if audio or controls do not have the expected shape.
        """
        controls = self.checked_controls(audio, controls)
        time = audio.shape[-1]
        if state is not None:
            return self._emit(*self._run(audio, controls, state), state, time)
        constant = controls is None or controls.ndim == 2
        start = self._start(audio.shape[0], _first_sample(controls), time)
        out, after = self._run(audio, controls, start, constant=constant, length=time)
        if self.latency:
            last = None if controls is None else _last_sample(controls)
            silence = audio.new_zeros(audio.shape[0], 1, self._silence_after)
            rest = self._run(silence, last, after, final=True, constant=constant, length=time)[0]
            _, after = self._emit(out, after, start, time)
            out = torch.cat((out, rest), dim=-1)
        return out[..., out.shape[-1] - time :], after

    def flush(self, state: State) -> Tensor:
        """Return the last `latency` samples of a stream, (batch, 1, latency)."""
        batch_size = next(iter(state.values())).shape[0]
        silence = next(self.parameters()).new_zeros(batch_size, 1, self._silence_after if self.latency else 0)
        if not self.latency:
            return silence
        rest = self._run(silence, state.get("controls"), state, final=True)[0]
        return torch.cat((state["ready"], rest), dim=-1) if "ready" in state else rest

    def _emit(self, out: Tensor, after: State, before: State, time: int) -> tuple[Tensor, State]:
        """Return the next `time` samples of output, and a state that keeps the others under ``ready``.

        Args:
            out: output that `_run` returned.
            after: state that `_run` returned.
            before: state from the call before; without ``ready`` (a model without latency), nothing has to wait.
            time: number of samples to return.
        """
        if "ready" not in before:
            return out, after
        ready = torch.cat((before["ready"], out), dim=-1)
        return ready[..., :time], after | {"ready": ready[..., time:].clone()}

    def _conditions(
        self, audio: Tensor, controls: Tensor | None, state: State, final: bool, constant: bool, length: int
    ) -> tuple[Flow, Conditions, State]:
        """Return the input of the first layer, the conditions of all layers, and the conditioning's next state.

        The arguments are those of `_run`. The input has the condition as channels after the audio if it is appended.
        """
        flow, shared, each, after = self._run_conditioner(audio, controls, state, final, length)
        appended = self._conditioning.chosen.appended
        after |= self._condition_state(controls, shared, state, audio.shape[-1], constant)
        whole = None
        if "condition" in state and isinstance(shared, Tensor) and not constant:
            whole = torch.cat((state["condition"], over_time(shared, audio.shape[-1])), dim=-1)
        if appended:
            flow = Flow(append_condition(flow.values, shared), flow.lag)
        return flow, Conditions(None if appended else shared, whole, each), after

    def _run_conditioner(
        self, audio: Tensor, controls: Tensor | None, state: State, final: bool, length: int
    ) -> tuple[Flow, Condition, Sequence[Condition] | None, State]:
        """Return the audio that can be processed, its condition, conditions per layer, and the next state.

        The conditions per layer are None if all layers use the same one. The state is that of the conditioning alone.
        The arguments are those of `_run`.
        """
        if self.cond_nn is None:
            return Flow(audio, 0), controls, None, {}
        ready, condition, after = self.cond_nn(audio, controls, scoped(state, "cond_nn"), final)
        lag = 0 if final else self.cond_nn.held(after)
        return Flow(ready, lag), condition, None, joined({"cond_nn": after})

    def _condition_state(
        self, controls: Tensor | None, condition: Condition, state: State, time: int, constant: bool
    ) -> State:
        """Return, as part of the state, the last controls and the condition of the last `latency` samples.

        Empty for a model without latency or controls. The condition is kept only if it modulates layers and has one
        value per call or sample, not steps.

        Args:
            controls: controls of the call.
            condition: condition of the call.
            state: state from the call before.
            time: samples of audio in the call.
            constant: True if the controls have had these values since the start of the file.
        """
        if not self.latency or controls is None:
            return {}
        kept = {"controls": _last_sample(controls) if time or controls.ndim == 2 else state["controls"]}
        if isinstance(condition, Tensor) and self._conditioning.chosen.modulation:
            if constant:
                return kept | {"condition": over_time(_last_sample(condition), self.latency)}
            whole = torch.cat((state["condition"], over_time(condition, time)), dim=-1)
            kept["condition"] = whole[..., whole.shape[-1] - self.latency :].clone()
        return kept


def _first_sample(controls: Tensor | None) -> Tensor | None:
    """Return the controls (batch, num_controls) of the first sample; None without controls."""
    return controls[..., 0] if controls is not None and controls.ndim == 3 else controls


def _last_sample(controls: Tensor) -> Tensor:
    """Return the controls (batch, num_controls) of the last sample."""
    return controls[..., -1] if controls.ndim == 3 else controls
