"""Another processor at a multiple of the sample rate."""

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
    """Run another processor at 2, 4 or 8 times the sample rate, which reduces the aliasing of its harmonics.

    Linear-phase half-band filters (`nablafx_dsp.functional.halfband`) double and halve the sample rate. Up to 5/12 of
    the sample rate (20 kHz at 48 kHz) they are flat within 0.001 dB, and aliases in that band are at least 88 dB down.
    For a factor of 2, 4 or 8 the latency is 35, 41 or 44 samples, plus the inner processor's latency / factor.

    It has the parameters of the inner processor and is driven like it. A parameter's value at a sample applies to the
    `factor` samples of the higher rate that take its place. The inner processor's weights are called ``processor.*``.
    State: that of the inner processor, ``processor.*``; the past of each filter, ``up{i}`` and ``down{i}``; and the
    values of each parameter that the delayed audio still needs, ``line.{name}``. A file begins after silence, during
    which the parameters have the values of its first sample.

    Args:
        processor: section of the inner processor, ``{name: soft_clip, …}``, which is built for the higher rate. Its
            controller is set in the section of ``oversampled``, beside this section.
        factor: factor of the sample rate: 2, 4 or 8.
        sample_rate: sample rate of input and output in Hz.

    Raises:
        ConfigError: if the factor is not 2, 4 or 8, the section is invalid, or the inner processor's latency is not an
            integer number of samples of `sample_rate`.
        RegistryError: if there is no processor with the section's name.
        ModelError: if the inner processor rejects its settings.
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
            raise ConfigError(f"oversampled: factor must be 2, 4 or 8, got {factor}.")
        self.factor, self.stages = factor, STAGES[: factor.bit_length() - 1]
        self.processor: Processor = build("processor", processor, sample_rate=sample_rate * factor)
        name = self.processor.title or in_words(type(self.processor).__name__)
        if self.processor.latency % factor:
            raise ConfigError(
                f"oversampled: {name} has a latency of {self.processor.latency} samples at {factor} times the rate, "
                f"which is not an integer number of samples at {sample_rate} Hz. Put it outside of oversampled."
            )
        delays = [(stage.up + stage.down) / 2 ** (i + 1) for i, stage in enumerate(self.stages)]
        self.latency = int(sum(delays)) + self.processor.latency // factor
        self._up_delay = sum(stage.up * factor >> (i + 1) for i, stage in enumerate(self.stages))
        self.effect_parameters = self.processor.effect_parameters
        self.remembers_position = self.processor.remembers_position
        self.lr_multiplier, self.processor.lr_multiplier = self.processor.lr_multiplier, 1.0
        self.title = f"{name}, {factor} x oversampled"

    @staticmethod
    def setting_problems(settings: Mapping[str, Any]) -> Iterable[tuple[tuple[str, ...], str]]:
        """Report an inner section without a name, and settings in it that belong beside ``oversampled``.

        These are the framework's settings of a processor's section, such as the controller. A `processor` that is not a
        mapping is not checked.

        Args:
            settings: complete section, with ``processor``.

        Returns:
            For each problem, the path of the setting inside the section, and the message.
        """
        section = settings["processor"]
        if not isinstance(section, Mapping):
            return
        if "name" not in section:
            message = "oversampled contains exactly one processor, with a name. Put branches and side-chains around it."
            yield ("processor",), message
        for setting in beside("processor"):
            if section.get(setting.name):
                yield ("processor", setting.name), f"write {setting.name} beside `name: oversampled`, not inside."

    def macs_per_sample(self) -> float:
        """Return the multiply-accumulates per sample of `sample_rate`.

        There is one for each non-zero tap and output sample of the filters, and `factor` times those of the inner
        processor.
        """
        filters = sum((1 << i) * (stage.up + stage.down + 3) for i, stage in enumerate(self.stages))
        return filters + self.factor * count_macs(self.processor).per_sample

    def initial_state(self, batch_size: int, parameters: dict[str, Tensor] | None = None, start: Start = 0) -> State:
        """Return the state for silence before the first sample.

        The filters' state is zero even if the inner processor turns silence into a constant: at the first sample of the
        output the filters have settled to that constant within 1e-9. The inner processor counts its position at the
        higher rate, and begins before `start` by the delay of the way up.

        Args:
            batch_size: number of items.
            parameters: parameters at the first sample, each (batch,); their values at 0.5 if None.
            start: position of the first sample in its file, in samples of `sample_rate`.
        """
        some = next(self.processor.parameters(), torch.zeros(()))
        if parameters is None:
            parameters = {p.name: some.new_full((batch_size,), p.from_unit(0.5)) for p in self.effect_parameters}
        like = next(iter(parameters.values()), some)
        inner = start * self.factor - self._up_delay
        state = joined({"processor": state_at(self.processor, batch_size, parameters, inner)})
        for i, stage in enumerate(self.stages):
            state[f"up{i}"] = like.new_zeros(batch_size, stage.up)
            state[f"down{i}"] = like.new_zeros(batch_size, 2 * stage.down)
        held = -(-self._up_delay // self.factor)
        state |= {f"line.{name}": value[:, None].expand(-1, held) for name, value in parameters.items()}
        return state

    def forward(self, audio: Tensor, parameters: dict[str, Tensor], state: State | None = None) -> tuple[Tensor, State]:
        """Run the inner processor at the higher rate on audio (batch, 1, time).

        Args:
            audio: x, (batch, 1, time).
            parameters: parameters by name, each (batch,) or (batch, time), at the rate of the audio.
            state: state after the previous audio. None for a whole file: silence before and after it, with the
                parameters of its first and last sample, and an output without delay.

        Returns:
            y, (batch, 1, time), and the state after the audio. With a given state, y lags by `latency` samples.
        """
        if state is not None:
            return self._stream(audio, parameters, state)
        first = {name: value if value.ndim == 1 else value[:, 0] for name, value in parameters.items()}
        output, after = self._stream(audio, parameters, self.initial_state(audio.shape[0], first))
        last = {name: value if value.ndim == 1 else value[:, -1] for name, value in parameters.items()}
        rest, _ = self._stream(audio.new_zeros(audio.shape[0], 1, self.latency), last, after)
        return torch.cat([output, rest], dim=-1)[..., self.latency :], after

    def _stream(self, audio: Tensor, parameters: dict[str, Tensor], state: State) -> tuple[Tensor, State]:
        values, after = self._delayed(parameters, audio.shape[-1], scoped(state, "line"))
        signal = audio[:, 0]
        for i in range(len(self.stages)):
            signal, after[f"up{i}"] = up(signal, state[f"up{i}"].to(signal))
        output, inner = self.processor(signal[:, None], values, scoped(state, "processor"))
        signal = output[:, 0]
        for i in reversed(range(len(self.stages))):
            signal, after[f"down{i}"] = down(signal, state[f"down{i}"].to(signal))
        return signal[:, None], after | joined({"processor": inner})

    def _delayed(self, parameters: dict[str, Tensor], time: int, lines: State) -> tuple[dict[str, Tensor], State]:
        """Return the parameters at the higher rate, delayed like the audio on its way up, and the next state.

        A parameter (batch,) that has not changed for the duration of this delay is returned as it is.
        """
        values, after = {}, {}
        for name, value in parameters.items():
            line = lines[name].to(value)
            if value.ndim == 1 and bool((line == value[:, None]).all()):  # constant
                values[name], after[name] = value, line
                continue
            over_time = value[:, None].expand(-1, time) if value.ndim == 1 else value
            begun = torch.cat([line, over_time], dim=-1)
            start = line.shape[-1] * self.factor - self._up_delay
            values[name] = begun.repeat_interleave(self.factor, dim=-1)[:, start : start + time * self.factor]
            after[name] = begun[:, time:]
        return values, joined({"line": after})
