"""A gray-box model: processors in a line, in branches and in side-chains, each driven by its controller."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from nablafx_core.controls import Control
from nablafx_core.errors import ConfigError, ModelError
from nablafx_core.graybox.order import Node, Plan
from nablafx_core.graybox.references import Path, Problem, as_section, problems
from nablafx_core.graybox.stage import Stage
from nablafx_core.graybox.timing import held_after, over_time, since, through
from nablafx_core.graybox.topology import Item, LineModules, item_from_section
from nablafx_core.interfaces import Model, Start
from nablafx_core.interfaces.position import state_at
from nablafx_core.marks import Section
from nablafx_core.state import State, joined, scoped


class GrayBox(Model):
    """Processors, each driven by a controller, in a line with branches and side-chains; a model like any other.

    A controller yields numbers in [0, 1]; each parameter maps them to its physical range; the processor receives
    those. `processors` is the line. An item of it is one of three:

    A processor's section, with four keys of the framework's: ``controller`` (a section; none if absent), ``fixed``
    (values in physical units of parameters that no controller drives), ``lr_multiplier`` and ``label``.

    ``{parallel: [[…], […]], mix: {…}, label: …}``: branches, each a line of its own, that are given the same audio and
    whose outputs are mixed; an empty branch is the audio as it is. The mix of two is y = (1 - mix) first + mix second;
    of more, the sum of level_0 first + level_1 second + …. These parameters, in [0, 1], have ``controller`` and
    ``fixed`` like those of a processor; without either the branches are mixed equally.

    ``{sidechain: […], label: …}``: a line whose output is for controllers alone; the audio passes by.

    A controller with a setting ``reads`` listens to ``chain`` (the model's input), ``processor`` (what its processor
    is given; of a mix, what the branches are given), a label (the output of what has it, which stands before it in the
    file), or, with `key_input`, ``key``.

    The latency is what the parts need: a controller that lags delays the audio of its processor; processors in a line
    add up; branches are delayed to the latest. Weights are called ``processors.{i}.*`` and ``controllers.{i}.*``; in
    branches ``processors.{i}.branches.{b}.processors.{j}.*``, the mix's controller being ``controllers.{i}``.

    Args:
        processors: the line, first to last.
        sample_rate: Hz.
        controls: the knobs.
        key_input: the model takes a second channel, which is heard by controllers that read ``key``.

    Raises:
        ConfigError: if the chain is empty or its parts do not fit together.
    """

    _like: Tensor

    def __init__(
        self,
        processors: Sequence[Annotated[dict[str, Any], Section("processor")]],
        sample_rate: int = 48000,
        controls: Sequence[Control] = (),
        key_input: bool = False,
    ) -> None:
        super().__init__(sample_rate, controls)
        self.in_channels = 2 if key_input else 1
        items = tuple(item_from_section(item, sample_rate, len(self.controls)) for item in processors)
        if not items:
            raise ConfigError("graybox: the chain is empty. Name at least one processor.")
        for path, message in problems([as_section(item) for item in items], key_input):
            raise ConfigError(f"graybox: processors{_dotted(path)}: {message}")
        plan, modules = Plan.of(items), LineModules(items)
        self.processors, self.controllers = modules.processors, modules.controllers
        self.nodes, self.latency = tuple(plan.nodes), plan.latency
        self._output, self._last_used = plan.output, plan.last_used()
        parts = [part for stage in self.stages for part in (stage.processor, stage.controller)]
        self.remembers_position = any(part.remembers_position for part in parts)
        for stage in self.stages:
            self._check(stage)
            stage.controller.lr_multiplier = stage.processor.lr_multiplier  # type: ignore[assignment]
        self.register_buffer("_like", torch.zeros(()), persistent=False)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Every processor with its controller, in the order in which they run; a mix comes after its branches."""
        return tuple(node.stage for node in self.nodes)

    @classmethod
    def from_stages(
        cls, stages: Sequence[Item], sample_rate: int = 48000, controls: Sequence[Control] = (), key_input: bool = False
    ) -> GrayBox:
        """Join parts that are already built.

        Args:
            stages: the chain, first to last.
            sample_rate: Hz, the same as every processor's.
            controls: the knobs.
            key_input: whether there is a second channel for controllers.
        """
        return cls(cast(Any, stages), sample_rate, controls, key_input)

    @staticmethod
    def setting_problems(settings: Mapping[str, Any]) -> Iterable[Problem]:
        """Report settings that are right one by one and do not fit together, with the place of each."""
        for path, message in problems(settings["processors"], settings["key_input"]):
            yield ("processors", *path), message

    def initial_state(self, batch_size: int, controls: Tensor | None = None, start: Start = 0) -> State:
        """Initial state of every part, with empty delay lines for audio, knobs and parameters.

        The first sample that a part processes is the first sample of the chain's input, even if it arrives late; so
        `start` is the same for every part.
        """
        controls = self._controls_for(batch_size, controls, None, self._like)
        silence = self._like.new_zeros(batch_size, 1, 1)
        parts: dict[str, State] = {}
        for node in self.nodes:
            stage, place = node.stage, node.place
            at_rest = state_at(stage.controller, batch_size, controls, start)
            unit, _ = stage.controller(silence, controls, at_rest)
            parts[f"{place}.lines"] = node.lag.lines(stage, batch_size, len(self.controls), self._like)
            parts[f"{place}.controller"] = at_rest
            values = stage.values(over_time(unit, 1)[..., 0])
            parts[f"{place}.processor"] = state_at(stage.processor, batch_size, values, start)
        state = {key: value.to(self._like.device) for key, value in joined(parts).items()}
        state["position"] = torch.zeros(batch_size, dtype=torch.int64, device=self._like.device)
        return state if controls is None else state | {"controls": controls}

    def forward(
        self, audio: Tensor, controls: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Process audio (batch, 1, time), with a key (batch, 2, time), offline or stream.

        Offline is the stream from the start of a file to its end, with the latency taken off; the state after it
        continues as a stream.
        """
        controls = self.checked_controls(audio, controls)
        if state is not None:
            return self._stream(audio, controls, state, steady=controls is None)
        return self._whole(audio, controls, 0)

    def offline(self, audio: Tensor, controls: Tensor | None = None, start: Start = 0) -> Tensor:
        """Return the offline output of audio that begins at sample `start` of its file; see `Model.offline`."""
        if not self.remembers_position:
            return super().offline(audio, controls)
        return self._whole(audio, self.checked_controls(audio, controls), start)[0]

    def flush(self, state: State) -> Tensor:
        """The last `latency` samples, (batch, 1, latency)."""
        return self._rest(state, steady="controls" not in state)

    def _whole(self, audio: Tensor, controls: Tensor | None, start: Start) -> tuple[Tensor, State]:
        """Return the offline output and the state after it; knobs without a time axis are constant."""
        steady = controls is None or controls.ndim == 2
        first = None if controls is None else over_time(controls, 1)[..., 0]
        out, after = self._stream(audio, controls, self.initial_state(audio.shape[0], first, start), steady)
        return torch.cat([out, self._rest(after, steady)], dim=-1)[..., self.latency :], after

    def _stream(self, audio: Tensor, controls: Tensor | None, state: State, steady: bool) -> tuple[Tensor, State]:
        seen, after = self._seen(state), dict(state)
        signals = {"chain": audio[:, :1], "key": audio[:, 1:]}
        for node in self.nodes:
            place = node.place
            signals[place], part = self._step(node, signals, controls, scoped(state, place), seen, steady)
            after |= joined({place: part})
            for name in self._last_used[place]:
                del signals[name]
        after["position"] = (state["position"] + audio.shape[-1]).clamp(max=self.latency)
        if controls is not None and audio.shape[-1]:
            after["controls"] = over_time(controls, 1)[..., -1]
        return signals[self._output], after

    def _rest(self, state: State, steady: bool) -> Tensor:
        """Return the audio that is still in the chain, stage by stage, each to the end of the file before the next."""
        seen, controls = self._seen(state), state.get("controls")
        tails: dict[str, Tensor] = {}
        nothing = self._like.new_zeros(state["position"].shape[0], 1, 0)
        for node in self.nodes:
            length, place = node.lag.leaves, node.place
            if length == 0:
                continue
            given = {name: tails.get(name, nothing) for name in (*node.inputs, node.hears)}
            signals = {name: F.pad(tail, (0, length - tail.shape[-1])) for name, tail in given.items()}
            end = node.lag.processes
            tails[place], _ = self._step(node, signals, controls, scoped(state, place), seen, steady, end)
        return tails.get(self._output, nothing)

    def _step(
        self,
        node: Node,
        signals: dict[str, Tensor],
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
            node: the stage.
            signals: what it is given and what its controller hears, by place, (batch, 1, time).
            controls: the knobs.
            state: of this stage.
            seen: samples before this block, at most `latency`.
            steady: whether knobs without a time axis stand still for the whole file.
            end: where in this block the file ends for the processor; its parameters are held from there on.
        """
        stage, lag, heard = node.stage, node.lag, signals[node.hears]
        time = heard.shape[-1]
        deaf, idle = (min(max(behind - seen, 0), time) for behind in (lag.hears, lag.processes))
        lines, after = scoped(state, "lines"), dict(state)
        if controls is not None:
            controls, lines = through(lines, "knobs", controls, time, steady)
            controls = since(controls, deaf)
        inputs = []
        for k, name in enumerate(node.inputs):
            signal, lines = through(lines, f"audio{k}", signals[name], time)
            inputs.append(signal)
        if deaf < time:
            unit, inner = stage.controller(heard[..., deaf:], controls, scoped(state, "controller"))
            after |= joined({"controller": inner})
            unit, lines = through(lines, "unit", unit, time - deaf, steady)
            if end is not None:
                unit = held_after(unit, end - deaf, time - deaf, lines)
            elif "held" in lines:
                lines = lines | {"held": over_time(unit, 1)[..., -1:]}
        after |= joined({"lines": lines})
        if idle == time:
            return torch.zeros_like(inputs[0]), after
        values = stage.given(since(unit, idle - deaf), time - idle)
        signal = inputs[0] if len(inputs) == 1 else torch.cat(inputs, dim=1)
        out, inner = stage.processor(signal[..., idle:], values, scoped(state, "processor"))
        return F.pad(out, (idle, 0)) if idle else out, after | joined({"processor": inner})

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


def _dotted(path: Path) -> str:
    return "".join(f".{part}" for part in path)
