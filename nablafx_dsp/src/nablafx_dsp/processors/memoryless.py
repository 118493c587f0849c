"""Processors whose output depends only on the current sample."""

from __future__ import annotations

import torch
from torch import Tensor

from nablafx_core.controls import Parameter
from nablafx_core.interfaces import Processor
from nablafx_core.state import State
from nablafx_core.steps import Steps
from nablafx_dsp.frames import blocks_over, framed
from nablafx_dsp.functional.ramp import ramp


class Memoryless(Processor):
    """Processor y[t] = f(x[t], parameters[t]) without state or latency."""

    def macs_per_sample(self) -> float:
        """Return 0: elementwise operations are not counted."""
        return 0.0

    def effect(self, audio: Tensor, **parameters: Tensor) -> Tensor:
        """Compute f; audio is (batch, 1, time), parameters are (batch, 1, 1) or (batch, 1, time)."""
        raise NotImplementedError

    def forward(self, audio: Tensor, parameters: dict[str, Tensor], state: State | None = None) -> tuple[Tensor, State]:
        """Process audio (batch, 1, time)."""
        framed = {name: value.reshape(audio.shape[0], 1, -1) for name, value in parameters.items()}
        return self.effect(audio, **framed), {}


class Affine(Memoryless):
    """y = gain x + offset, with the gain or the offset as parameter.

    A parameter with one step per block is constant over each block or, if `interpolated`, moves linearly from the
    step before to the block's own step, which it reaches at the block's last sample, so that nothing jumps. State if
    `interpolated`: ``before``, the parameter at the end of the block before.

    Args:
        parameter: the gain or the offset.
        sample_rate: sample rate in Hz.
        interpolated: if true, move linearly between steps.
    """

    takes_steps = True
    shape = "value"

    def __init__(self, parameter: Parameter, sample_rate: int, interpolated: bool) -> None:
        super().__init__(sample_rate)
        self.effect_parameters = (parameter,)
        self.interpolated = interpolated

    def gain_and_offset(self, value: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return gain and offset for a value of the parameter; None stands for a gain of 1 or an offset of 0."""
        raise NotImplementedError

    def initial_state(self, batch_size: int, parameters: dict[str, Tensor] | None = None) -> State:
        """Return the parameter at the first sample if `interpolated`, otherwise no state."""
        if not self.interpolated:
            return {}
        (parameter,) = self.effect_parameters
        return {"before": torch.zeros(batch_size) if parameters is None else parameters[parameter.name]}

    def forward(
        self, audio: Tensor, parameters: dict[str, Tensor] | dict[str, Steps], state: State | None = None
    ) -> tuple[Tensor, State]:
        """Process audio (batch, 1, time)."""
        time = audio.shape[-1]
        values, block_size, skip = framed(parameters, time)
        (value,) = values.values()
        if not self.interpolated or not time:
            output = ramp(audio[:, 0], *self.gain_and_offset(value), block_size=block_size, skip=skip)
            return output[:, None], {} if state is None else state
        if block_size == 1:
            return ramp(audio[:, 0], *self.gain_and_offset(value))[:, None], {"before": value[:, -1]}
        blocks = blocks_over(value.shape[-1], time, block_size, skip)
        before = value[:, blocks.first] if state is None else state["before"].to(value)
        ends = value[:, blocks.first : blocks.last + 1]
        starts = torch.cat([before[:, None], ends[:, :-1]], dim=-1)
        output = ramp(
            audio[:, 0], *self.gain_and_offset(ends), *self.gain_and_offset(starts), block_size=block_size, skip=skip
        )
        return output[:, None], {"before": starts[:, -1] if skip else ends[:, -1]}


class Gain(Affine):
    """y = 10^(gain_db / 20) x.

    Args:
        sample_rate: sample rate in Hz.
        min_gain_db, max_gain_db: range of the gain in dB.
        interpolated: if true, a gain with one step per block moves linearly between steps; otherwise it is constant
            over each block.
    """

    def __init__(
        self,
        sample_rate: int = 48000,
        min_gain_db: float = -32.0,
        max_gain_db: float = 32.0,
        interpolated: bool = False,
    ) -> None:
        super().__init__(Parameter("gain_db", min_gain_db, max_gain_db, "dB"), sample_rate, interpolated)

    def gain_and_offset(self, value: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return the gain as a factor."""
        return 10 ** (value / 20), None


class DCOffset(Affine):
    """y = x + offset, relative to full scale.

    Args:
        sample_rate: sample rate in Hz.
        min_offset, max_offset: range of the offset.
        interpolated: if true, an offset with one step per block moves linearly between steps; otherwise it is constant
            over each block.
    """

    def __init__(
        self,
        sample_rate: int = 48000,
        min_offset: float = -2.0,
        max_offset: float = 2.0,
        interpolated: bool = False,
    ) -> None:
        super().__init__(Parameter("offset", min_offset, max_offset), sample_rate, interpolated)

    def gain_and_offset(self, value: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return the offset."""
        return None, value


class PhaseInversion(Memoryless):
    """y = -x."""

    shape = "value"

    def effect(self, audio: Tensor) -> Tensor:  # type: ignore[override]
        """Invert the sign."""
        return -audio
