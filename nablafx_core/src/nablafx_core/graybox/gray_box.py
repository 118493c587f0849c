"""Gray-box model: processors in a line, in branches and in side-chains, each driven by its controller."""

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
    """Model of processors in a line with branches and side-chains, each driven by a controller.

    A controller outputs numbers in [0, 1]. Each parameter of its processor maps one of them to its physical range.
    `processors` is the line. Each item is one of three:

    The section of a processor, with four keys of the framework: ``controller`` (a section; no controller if absent),
    ``fixed`` (values in physical units of parameters that no controller drives), ``lr_multiplier`` and ``label``.

    ``{parallel: [[…], […]], mix: {…}, label: …}``: branches, each a line of its own. All branches receive the same
    audio, and their outputs are mixed. An empty branch passes the audio unchanged. The mix of two branches is
    y = (1 - mix) first + mix second; the mix of more branches is level_0 first + level_1 second + …. These
    parameters, in [0, 1], have ``controller`` and ``fixed`` like those of a processor; with neither, the branches are
    mixed equally.

    ``{sidechain: […], label: …}``: a line whose output only controllers read; the audio bypasses it.

    A controller with a setting ``reads`` reads ``chain`` (the model's input), ``processor`` (the input of its
    processor; for a mix, the input of the branches), a label (the output of the item with this label, which must come
    before it in the file), or, with `key_input`, ``key``.

    The latency results from the parts: the latency of a controller delays the audio of its processor; latencies of
    processors in a line add up; branches are delayed to the latest one. Weights are named ``processors.{i}.*`` and
    ``controllers.{i}.*``; in branches, ``processors.{i}.branches.{b}.processors.{j}.*``. The controller of a mix is
    ``controllers.{i}``.

    Args:
        processors: items of the line, first to last; a name alone stands for a section without settings.
        sample_rate: sample rate in Hz.
        controls: knobs of the device.
        key_input: if true, the model has a second input channel, which controllers with ``reads: key`` read.

    Raises:
        ConfigError: if the chain is empty, a section is invalid, or the parts do not fit together.
        RegistryError: if no pack has a component of a section's name.
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
            raise ConfigError("graybox: the chain is empty. Add at least one processor.")
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
        """All stages in the order in which they run; a mix comes after its branches."""
        return tuple(node.stage for node in self.nodes)

    @classmethod
    def from_stages(
        cls, stages: Sequence[Item], sample_rate: int = 48000, controls: Sequence[Control] = (), key_input: bool = False
    ) -> GrayBox:
        """Build a chain from parts that are already built.

        Args:
            stages: items of the chain, first to last: `Stage`, `Parallel` or `Sidechain`.
            sample_rate: sample rate in Hz, the same as that of every processor.
            controls: knobs of the device.
            key_input: true for a second input channel, which controllers can read.

        Raises:
            ConfigError: if the chain is empty, or its parts do not fit together.
        """
        return cls(cast(Any, stages), sample_rate, controls, key_input)

    @staticmethod
    def setting_problems(settings: Mapping[str, Any]) -> Iterable[Problem]:
        """Report settings that are valid on their own but do not fit together: path of the setting, and message."""
        for path, message in problems(settings["processors"], settings["key_input"]):
            yield ("processors", *path), message

    def initial_state(self, batch_size: int, controls: Tensor | None = None, start: Start = 0) -> State:
        """Return the initial state of every part, with empty delay lines for audio, knobs and parameters.

        Every part begins with the first sample of the chain's input, even if it arrives late. So `start` is the same
        for all parts.
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
        """Process audio (batch, 1, time), or (batch, 2, time) with a key, offline or as a stream.

        The offline output is that of the stream from the start of a file to its end, without the latency; the state
        after it continues as a stream.
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
        """Return the last `latency` samples, (batch, 1, latency)."""
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
        """Return the audio that is still in the chain; each stage reaches the end of the file before the next one."""
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
        """Run one stage on one block of a stream.

        Samples before the first one of the file, which come from the latencies of earlier stages, are not processed,
        so that no state changes before the file begins.

        Args:
            node: stage to run, with its place.
            signals: inputs of the stage and of its controller, (batch, 1, time), by place.
            controls: positions of the knobs.
            state: state of this stage.
            seen: number of samples of the stream before this block, at most the `latency` of the chain.
            steady: true if knobs without a time axis are constant over the whole file.
            end: sample of this block at which the file ends for the processor; its parameters are held from there on.

        Returns:
            Output of the stage, (batch, 1, time), and its state after the block.
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
        """Return the number of samples processed so far, at most `latency`: from there on, the chain is full."""
        if self.latency == 0:
            return 0
        position = state["position"]
        if bool((position != position[0]).any()):
            raise ModelError("graybox: all items of a batch must be at the same sample of their streams.")
        return int(position[0])

    def _check(self, stage: Stage) -> None:
        name, count = type(stage.processor).__name__, len(self.controls)
        if stage.processor.sample_rate != self.sample_rate:
            raise ConfigError(
                f"graybox: {name} was built for {stage.processor.sample_rate} Hz, the chain for {self.sample_rate} Hz. "
                "Build both for the same sample rate."
            )
        if stage.controller.num_controls not in (0, count):
            raise ConfigError(
                f"graybox: {name}'s controller expects {stage.controller.num_controls} knobs, the chain has {count}. "
                "Build the controller for the knobs of the chain, or without knobs."
            )


def _dotted(path: Path) -> str:
    return "".join(f".{part}" for part in path)
