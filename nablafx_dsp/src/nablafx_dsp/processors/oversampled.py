"""A processor that works at a multiple of the sample rate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from nablafx_core.errors import ConfigError
from nablafx_core.graybox.naming import in_words
from nablafx_core.interfaces import Processor, Start
from nablafx_core.interfaces.position import state_at
from nablafx_core.marks import Section
from nablafx_core.profiling import count_macs
from nablafx_core.registry.building import build
from nablafx_core.registry.settings import beside
from nablafx_core.state import State, joined, scoped
from nablafx_dsp.functional.halfband import STAGES, down, up


class Oversampled(Processor):
    """Another processor at 2, 4 or 8 times the sample rate, so that the harmonics that it makes fold back less.

    Half-band filters of linear phase (`nablafx_dsp.functional.halfband`) double the rate and halve it again. Up to 5/12
    of the sample rate (20 kHz at 48 kHz) the way up and down is flat within 0.001 dB; what would fold onto that band is
    88 dB down at least. The latency is 35, 41 and 44 samples.

    It has the parameters of the other processor, and is driven as if it were that one: a parameter holds for the
    samples made of one sample. Weights are those of the other, called ``processor.*``. State: of the other; the audio
    that each filter remembers, ``up{i}`` and ``down{i}``; of each parameter, what the audio on its way is still to be
    given, ``line.{name}``. A file begins after silence, at the parameters of its first sample.

    Args:
        processor: what works at the higher rate: a section ``{name: soft_clip, …}``, built for that rate. What drives
            it stands in the section of ``oversampled``.
        factor: of the sample rate: 2, 4 or 8.
        sample_rate: Hz, of what goes in and comes out.

    Raises:
        ConfigError: if the processor has a latency that is no whole number of samples here.
    """

    def __init__(
        self,
        processor: Annotated[dict[str, Any], Section("processor")],
        factor: Literal[2, 4, 8] = 4,
        sample_rate: int = 48000,
    ) -> None:
        super().__init__(sample_rate)
        for _, message in self.setting_problems({"processor": processor}):
            raise ConfigError(f"oversampled: {message}")
        if factor not in (2, 4, 8):
            raise ConfigError(f"oversampled: the factor is 2, 4 or 8, not {factor}.")
        self.factor, self.stages = factor, STAGES[: factor.bit_length() - 1]
        self.processor: Processor = build("processor", processor, sample_rate=sample_rate * factor)
        name = self.processor.title or in_words(type(self.processor).__name__)
        if self.processor.latency % factor:
            raise ConfigError(
                f"oversampled: {name} has a latency of {self.processor.latency} samples at {factor} times the rate, "
                "which is no whole number of samples. Put it outside."
            )
        delays = [(stage.up + stage.down) / 2 ** (i + 1) for i, stage in enumerate(self.stages)]
        self.latency = int(sum(delays)) + self.processor.latency // factor
        self._way_up = sum(stage.up * factor >> (i + 1) for i, stage in enumerate(self.stages))
        self.effect_parameters = self.processor.effect_parameters
        self.remembers_position = self.processor.remembers_position
        self.lr_multiplier, self.processor.lr_multiplier = self.processor.lr_multiplier, 1.0
        self.title = f"{name}, {factor} x oversampled"

    @staticmethod
    def setting_problems(settings: Mapping[str, Any]) -> Iterable[tuple[tuple[str, ...], str]]:
        """What cannot stand inside, with its place."""
        section = settings["processor"]
        if not isinstance(section, Mapping):
            return
        if "name" not in section:
            yield ("processor",), "oversampled holds one processor. Put branches and side-chains around it."
        for setting in beside("processor"):
            if section.get(setting.name):
                yield ("processor", setting.name), f"write {setting.name} beside `name: oversampled`, not inside."

    def macs_per_sample(self) -> float:
        """Every tap that is not 0, and the processor as often as it runs."""
        filters = sum((1 << i) * (stage.up + stage.down + 3) for i, stage in enumerate(self.stages))
        return filters + self.factor * count_macs(self.processor).per_sample

    def initial_state(self, batch_size: int, parameters: dict[str, Tensor] | None = None, start: Start = 0) -> State:
        """Silence before the first sample.

        What the processor makes of silence has filled the filters when the first sample comes out, but for 1e-9 of it.
        The processor counts its position at the higher rate, and begins as much before `start` as the way up takes.
        """
        some = next(self.processor.parameters(), torch.zeros(()))
        if parameters is None:
            parameters = {p.name: some.new_full((batch_size,), p.from_unit(0.5)) for p in self.effect_parameters}
        like = next(iter(parameters.values()), some)
        inner = start * self.factor - self._way_up
        state = joined({"processor": state_at(self.processor, batch_size, parameters, inner)})
        for i, stage in enumerate(self.stages):
            state[f"up{i}"] = like.new_zeros(batch_size, stage.up)
            state[f"down{i}"] = like.new_zeros(batch_size, 2 * stage.down)
        held = -(-self._way_up // self.factor)
        state |= {f"line.{name}": value[:, None].expand(-1, held) for name, value in parameters.items()}
        return state

    def forward(self, audio: Tensor, parameters: dict[str, Tensor], state: State | None = None) -> tuple[Tensor, State]:
        """Process audio (batch, 1, time)."""
        if state is not None:
            return self._stream(audio, parameters, state)
        first = {name: value if value.ndim == 1 else value[:, 0] for name, value in parameters.items()}
        output, after = self._stream(audio, parameters, self.initial_state(audio.shape[0], first))
        last = {name: value if value.ndim == 1 else value[:, -1] for name, value in parameters.items()}
        rest, _ = self._stream(audio.new_zeros(audio.shape[0], 1, self.latency), last, after)
        return torch.cat([output, rest], dim=-1)[..., self.latency :], after

    def _stream(self, audio: Tensor, parameters: dict[str, Tensor], state: State) -> tuple[Tensor, State]:
        values, after = self._late(parameters, audio.shape[-1], scoped(state, "line"))
        signal = audio[:, 0]
        for i in range(len(self.stages)):
            signal, after[f"up{i}"] = up(signal, state[f"up{i}"].to(signal))
        output, inner = self.processor(signal[:, None], values, scoped(state, "processor"))
        signal = output[:, 0]
        for i in reversed(range(len(self.stages))):
            signal, after[f"down{i}"] = down(signal, state[f"down{i}"].to(signal))
        return signal[:, None], after | joined({"processor": inner})

    def _late(self, parameters: dict[str, Tensor], time: int, lines: State) -> tuple[dict[str, Tensor], State]:
        """Parameters at the higher rate, as late as the audio is on its way up; and the lines after them."""
        values, after = {}, {}
        for name, value in parameters.items():
            line = lines[name].to(value)
            if value.ndim == 1 and bool((line == value[:, None]).all()):  # it stands still
                values[name], after[name] = value, line
                continue
            over_time = value[:, None].expand(-1, time) if value.ndim == 1 else value
            begun = torch.cat([line, over_time], dim=-1)
            start = line.shape[-1] * self.factor - self._way_up
            values[name] = begun.repeat_interleave(self.factor, dim=-1)[:, start : start + time * self.factor]
            after[name] = begun[:, time:]
        return values, joined({"line": after})
