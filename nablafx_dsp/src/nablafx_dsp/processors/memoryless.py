"""Processors that treat each sample by itself: gain, offset, inversion, and their base classes."""

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
    """Base class of processors y[t] = f(x[t], parameters[t]).

    A subclass defines f in `effect`. There is no latency, and no state unless a subclass overrides `forward`.
    """

    def macs_per_sample(self) -> float:
        """Return 0: elementwise operations are not counted."""
        return 0.0

    def effect(self, audio: Tensor, **parameters: Tensor) -> Tensor:
        """Return f of each sample, (batch, 1, time).

        Args:
            audio: x, (batch, 1, time).
            parameters: parameters by name, (batch, 1, 1) if constant or (batch, 1, time).
        """
        raise NotImplementedError

    def forward(self, audio: Tensor, parameters: dict[str, Tensor], state: State | None = None) -> tuple[Tensor, State]:
        """Return f of each sample of the audio, (batch, 1, time), and an empty state; `state` is ignored.

        The arguments are those of `Processor.forward`.
        """
        framed = {name: value.reshape(audio.shape[0], 1, -1) for name, value in parameters.items()}
        return self.effect(audio, **framed), {}


class Affine(Memoryless):
    """y = gain x + offset, with the gain or the offset as its only parameter. It has no latency.

    A parameter may be constant, have one value per sample, or have one step per block of samples. A step is constant
    over its block or, if `interpolated`, the parameter moves linearly from the step of the block before to the block's
    own step, which it reaches at the block's last sample; it is constant in the first block of a file. State if
    `interpolated`: ``before``, the parameter at the end of the block before, (batch,); otherwise empty.

    Args:
        parameter: the gain or the offset.
        sample_rate: sample rate in Hz.
        interpolated: if true, move linearly between steps. It changes nothing for a parameter without steps.
    """

    takes_steps = True
    shape = "value"

    def __init__(self, parameter: Parameter, sample_rate: int, interpolated: bool) -> None:
        super().__init__(sample_rate)
        self.effect_parameters = (parameter,)
        self.interpolated = interpolated

    def gain_and_offset(self, value: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return gain (a factor) and offset for values of the parameter; None means a gain of 1 or an offset of 0."""
        raise NotImplementedError

    def initial_state(self, batch_size: int, parameters: dict[str, Tensor] | None = None) -> State:
        """Return the state at the start of a file: empty unless `interpolated`.

        If `interpolated`, it is the parameter at the first sample, (batch_size,), or 0 if `parameters` is None.
        """
        if not self.interpolated:
            return {}
        (parameter,) = self.effect_parameters
        return {"before": torch.zeros(batch_size) if parameters is None else parameters[parameter.name]}

    def forward(
        self, audio: Tensor, parameters: dict[str, Tensor] | dict[str, Steps], state: State | None = None
    ) -> tuple[Tensor, State]:
        """Apply the gain and the offset to audio (batch, 1, time).

        Args:
            audio: x, (batch, 1, time).
            parameters: the parameter by name, (batch,), (batch, time), or `Steps` of (batch, blocks).
            state: state after the previous audio; None at the start of a file. It is used only if `interpolated`.

        Returns:
            y, (batch, 1, time), and the state after it.
        """
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
        """Return the gain in dB as a factor, 10^(value / 20), and None for an offset of 0."""
        return 10 ** (value / 20), None


class DCOffset(Affine):
    """y = x + offset, with full scale at +-1.

    Args:
        sample_rate: sample rate in Hz.
        min_offset, max_offset: range of the offset, relative to full scale.
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
        """Return None for a gain of 1, and the offset."""
        return None, value


class PhaseInversion(Memoryless):
    """y = -x. It has no parameters."""

    shape = "value"

    def effect(self, audio: Tensor) -> Tensor:  # type: ignore[override]
        """Return -x."""
        return -audio
