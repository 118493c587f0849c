"""A gray-box model: a line of processors, each driven by its controller."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nablafx_core.controls import Control
from nablafx_core.errors import ConfigError, ModelError
from nablafx_core.graybox.stage import Stage, stage_from_section
from nablafx_core.graybox.timing import Lag, held_after, over_time, since, through
from nablafx_core.interfaces import Model
from nablafx_core.settings import Section
from nablafx_core.state import State, joined, scoped


class GrayBox(Model):
    """Processors in a line, each driven by a controller; a model like any other.

    A controller yields numbers in [0, 1]; each parameter maps them to its physical range; the processor receives
    those. Each item of `processors` is a processor's section, with three keys of the framework's: ``controller`` (a
    section; none if absent), ``fixed`` (values in physical units of parameters that no controller drives) and
    ``lr_multiplier``. Weights are called ``processors.{i}.*`` and ``controllers.{i}.*``.

    The latency is what the parts need: a controller that lags delays the audio of its processor; processors add up.

    Args:
        processors: the chain, first to last.
        sample_rate: Hz.
        controls: the knobs.

    Raises:
        ConfigError: if the chain is empty or its parts do not fit together.
    """

    _like: Tensor

    def __init__(
        self,
        processors: Sequence[Annotated[dict[str, Any], Section("processor")]],
        sample_rate: int = 48000,
        controls: Sequence[Control] = (),
    ) -> None:
        super().__init__(sample_rate, controls)
        count = len(self.controls)
        self.stages = tuple(
            item if isinstance(item, Stage) else stage_from_section(item, sample_rate, count) for item in processors
        )
        if not self.stages:
            raise ConfigError("graybox: the chain is empty. Name at least one processor.")
        self.processors = nn.ModuleList(stage.processor for stage in self.stages)
        self.controllers = nn.ModuleList(stage.controller for stage in self.stages)
        self._lags: list[Lag] = []
        for stage in self.stages:
            self._check(stage)
            stage.controller.lr_multiplier = stage.processor.lr_multiplier  # type: ignore[assignment]
            self._lags.append(Lag.of(stage, self.latency))
            self.latency = self._lags[-1].leaves
        self.register_buffer("_like", torch.zeros(()), persistent=False)

    @classmethod
    def from_stages(
        cls, stages: Sequence[Stage], sample_rate: int = 48000, controls: Sequence[Control] = ()
    ) -> GrayBox:
        """Join parts that are already built.

        Args:
            stages: the chain, first to last.
            sample_rate: Hz, the same as every processor's.
            controls: the knobs.
        """
        return cls(cast(Any, stages), sample_rate, controls)

    def initial_state(self, batch_size: int, controls: Tensor | None = None) -> State:
        """Every part at rest, and the lines that delay audio, knobs and parameters empty."""
        controls = self._controls_for(batch_size, controls, None, self._like)
        silence = self._like.new_zeros(batch_size, 1, 1)
        parts: dict[str, State] = {}
        for i, (stage, lag) in enumerate(zip(self.stages, self._lags, strict=True)):
            at_rest = stage.controller.initial_state(batch_size, controls)
            unit, _ = stage.controller(silence, controls, at_rest)
            parts[f"{i}.lines"] = lag.lines(stage, batch_size, len(self.controls), self._like)
            parts[f"{i}.controller"] = at_rest
            values = stage.values(over_time(unit, 1)[..., 0])
            parts[f"{i}.processor"] = stage.processor.initial_state(batch_size, values)
        state = {key: value.to(self._like.device) for key, value in joined(parts).items()}
        state["position"] = torch.zeros(batch_size, dtype=torch.int64, device=self._like.device)
        return state if controls is None else state | {"controls": controls}

    def forward(
        self, audio: Tensor, controls: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Process audio (batch, 1, time), offline or stream.

        Offline is the stream from the start of a file to its end, with the latency taken off; the state after it
        continues as a stream.
        """
        controls = self.checked_controls(audio, controls)
        if state is not None:
            return self._stream(audio, controls, state, steady=controls is None)
        steady = controls is None or controls.ndim == 2
        first = None if controls is None else over_time(controls, 1)[..., 0]
        out, after = self._stream(audio, controls, self.initial_state(audio.shape[0], first), steady)
        return torch.cat([out, self._rest(after, steady)], dim=-1)[..., self.latency :], after

    def flush(self, state: State) -> Tensor:
        """The last `latency` samples, (batch, 1, latency)."""
        return self._rest(state, steady="controls" not in state)

    def _stream(self, audio: Tensor, controls: Tensor | None, state: State, steady: bool) -> tuple[Tensor, State]:
        seen, signal, after = self._seen(state), audio, dict(state)
        for i in range(len(self.stages)):
            signal, part = self._step(i, signal, audio, controls, scoped(state, str(i)), seen, steady)
            after |= joined({str(i): part})
        after["position"] = (state["position"] + audio.shape[-1]).clamp(max=self.latency)
        if controls is not None and audio.shape[-1]:
            after["controls"] = over_time(controls, 1)[..., -1]
        return signal, after

    def _rest(self, state: State, steady: bool) -> Tensor:
        """What is still in the chain: stage by stage, each to the end of the file before the next."""
        seen, controls = self._seen(state), state.get("controls")
        tail = self._like.new_zeros(state["position"].shape[0], 1, 0)
        for i, lag in enumerate(self._lags):
            if lag.leaves:
                rest = F.pad(tail, (0, lag.leaves - lag.arrives))
                end, silence = lag.processes, torch.zeros_like(rest)
                tail, _ = self._step(i, rest, silence, controls, scoped(state, str(i)), seen, steady, end)
        return tail

    def _step(
        self,
        index: int,
        signal: Tensor,
        audio: Tensor,
        controls: Tensor | None,
        state: State,
        seen: int,
        steady: bool,
        end: int | None = None,
    ) -> tuple[Tensor, State]:
        """One stage over one block of a stream.

        What comes before the first sample of the file (the latencies of the stages before) is not processed, so that
        no part's state moves before the file begins.

        Args:
            signal: what the stages before give, (batch, 1, time).
            audio: the chain's input.
            controls: the knobs.
            state: of this stage.
            seen: samples before this block, at most `latency`.
            steady: whether knobs without a time axis stand still for the whole file.
            end: where in this block the file ends for the processor; its parameters are held from there on.
        """
        stage, lag, time = self.stages[index], self._lags[index], signal.shape[-1]
        deaf, idle = (min(max(behind - seen, 0), time) for behind in (lag.hears, lag.processes))
        lines, after = scoped(state, "lines"), dict(state)
        if controls is not None:
            controls, lines = through(lines, "knobs", controls, time, steady)
            controls = since(controls, deaf)
        heard = audio if stage.controller.reads == "chain" else signal
        signal, lines = through(lines, "audio", signal, time)
        out = torch.zeros_like(signal)
        if deaf < time:
            unit, inner = stage.controller(heard[..., deaf:], controls, scoped(state, "controller"))
            after |= joined({"controller": inner})
            unit, lines = through(lines, "unit", unit, time, steady)
            if end is not None:
                unit = held_after(unit, end - deaf, time - deaf, lines)
            elif "held" in lines:
                lines = lines | {"held": over_time(unit, 1)[..., -1:]}
        if idle < time:
            values = stage.given(since(unit, idle - deaf), time - idle)
            out, inner = stage.processor(signal[..., idle:], values, scoped(state, "processor"))
            out = F.pad(out, (idle, 0))
            after |= joined({"processor": inner})
        return out, after | joined({"lines": lines})

    def _seen(self, state: State) -> int:
        """Samples of the file that went in before, counted up to the latency, from which on the chain is full."""
        if self.latency == 0:
            return 0
        position = state["position"]
        if bool((position != position[0]).any()):
            raise ModelError("graybox: the items of a batch must have begun their streams at the same sample.")
        return int(position[0])

    def _check(self, stage: Stage) -> None:
        name, count = type(stage.processor).__name__, len(self.controls)
        if stage.processor.sample_rate != self.sample_rate:
            raise ConfigError(
                f"graybox: {name} was made for {stage.processor.sample_rate} Hz, the chain for {self.sample_rate} Hz."
            )
        if stage.controller.num_controls not in (0, count):
            raise ConfigError(
                f"graybox: the controller of {name} follows {stage.controller.num_controls} knobs; there are {count}."
            )
