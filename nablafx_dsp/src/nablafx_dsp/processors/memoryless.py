"""Effects whose output depends on the present sample only."""

from __future__ import annotations

import torch
from torch import Tensor

from nablafx_core.controls import Parameter
from nablafx_core.interfaces import Processor
from nablafx_core.state import State
from nablafx_core.steps import Steps
from nablafx_dsp.functional.frames import blocks_over, framed
from nablafx_dsp.functional.ramp import ramp


class Memoryless(Processor):
    """An effect y[t] = f(x[t], parameters[t]); no state, no latency."""

    def macs_per_sample(self) -> float:
        """Elementwise work does not count."""
        return 0.0

    def effect(self, audio: Tensor, **parameters: Tensor) -> Tensor:
        """f; audio is (batch, 1, time), parameters are (batch, 1, 1) or (batch, 1, time)."""
        raise NotImplementedError

    def forward(self, audio: Tensor, parameters: dict[str, Tensor], state: State | None = None) -> tuple[Tensor, State]:
        """Process audio (batch, 1, time)."""
        framed = {name: value.reshape(audio.shape[0], 1, -1) for name, value in parameters.items()}
        return self.effect(audio, **framed), {}


class Line(Memoryless):
    """y = gain x + offset, of which a parameter says one.

    A parameter that comes in steps, one per block, is held over each block or, if `interpolated`, runs in a line from
    the step before to the block's own, which it reaches at the block's last sample, so that nothing jumps. State of
    the latter: ``before``, the parameter at the end of the block before.

    Args:
        parameter: that is driven.
        sample_rate: Hz.
        interpolated: whether steps are reached in lines.
    """

    takes_steps = True
    shape = "value"

    def __init__(self, parameter: Parameter, sample_rate: int, interpolated: bool) -> None:
        super().__init__(sample_rate)
        self.effect_parameters = (parameter,)
        self.interpolated = interpolated

    def line(self, value: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Gain and offset, None for 1 and for 0."""
        raise NotImplementedError

    def initial_state(self, batch_size: int, parameters: dict[str, Tensor] | None = None) -> State:
        """The parameter at the first sample, where there is a state."""
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
            output = ramp(audio[:, 0], *self.line(value), block_size=block_size, skip=skip)
            return output[:, None], {} if state is None else state
        if block_size == 1:
            return ramp(audio[:, 0], *self.line(value))[:, None], {"before": value[:, -1]}
        blocks = blocks_over(value.shape[-1], time, block_size, skip)
        before = value[:, blocks.first] if state is None else state["before"].to(value)
        ends = value[:, blocks.first : blocks.last + 1]
        starts = torch.cat([before[:, None], ends[:, :-1]], dim=-1)
        output = ramp(audio[:, 0], *self.line(ends), *self.line(starts), block_size=block_size, skip=skip)
        return output[:, None], {"before": starts[:, -1] if skip else ends[:, -1]}


class Gain(Line):
    """y = 10^(gain_db / 20) x.

    Args:
        sample_rate: Hz.
        min_gain_db, max_gain_db: range of the gain.
        interpolated: whether a gain that comes in steps runs in lines between them, or is held over each block.
    """

    def __init__(
        self,
        sample_rate: int = 48000,
        min_gain_db: float = -32.0,
        max_gain_db: float = 32.0,
        interpolated: bool = False,
    ) -> None:
        super().__init__(Parameter("gain_db", min_gain_db, max_gain_db, "dB"), sample_rate, interpolated)

    def line(self, value: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """A factor."""
        return 10 ** (value / 20), None


class DCOffset(Line):
    """y = x + offset, in parts of full scale.

    Args:
        sample_rate: Hz.
        min_offset, max_offset: range of the offset.
        interpolated: whether an offset that comes in steps runs in lines between them, or is held over each block.
    """

    def __init__(
        self,
        sample_rate: int = 48000,
        min_offset: float = -2.0,
        max_offset: float = 2.0,
        interpolated: bool = False,
    ) -> None:
        super().__init__(Parameter("offset", min_offset, max_offset), sample_rate, interpolated)

    def line(self, value: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """A constant."""
        return None, value


class PhaseInversion(Memoryless):
    """y = -x."""

    shape = "value"

    def effect(self, audio: Tensor) -> Tensor:  # type: ignore[override]
        """Invert."""
        return -audio
