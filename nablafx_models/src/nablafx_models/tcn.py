"""Temporal convolutional networks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import gcd
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nablafx_core.controls import Control
from nablafx_core.errors import ModelError
from nablafx_core.interfaces import Model
from nablafx_core.nn.activation import ActivationName
from nablafx_core.nn.activation import activation as activation_named
from nablafx_core.nn.norm import running_statistics
from nablafx_core.state import State, joined, scoped
from nablafx_models.conditioning.interface import Conditioner, Modulation
from nablafx_models.conditioning.table import (
    conditioning_named,
    first_sample,
    last_sample,
    over_time,
    with_condition,
)


class TCNBlock(nn.Module):
    """y[n] = activation(modulation(conv(x)))[n] + res(x)[n - residual_lag]; its state is the past that conv reads.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        history: samples of past that a dilated convolution of `kernel_size` reads.
        residual_lag: samples by which the residual lags the newest input; None for no residual.
        modulation: by the controls, before the activation.
        norm: ``"batch"`` or ``"none"``; the modulation's own where there is one.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int,
        dilation: int,
        bias: bool,
        residual_lag: int | None,
        modulation: Modulation | None,
        norm: str,
        activation: ActivationName,
    ) -> None:
        super().__init__()
        self.history = (kernel_size - 1) * dilation
        self.residual_lag = residual_lag
        self.conv = nn.Conv1d(in_channels, out_channels, kernel_size, dilation=dilation, bias=bias)
        self.film = modulation
        self.bn = nn.BatchNorm1d(out_channels) if norm == "batch" and modulation is None else None
        self.act = activation_named(activation, out_channels)
        self.res = None
        if residual_lag is not None:
            groups = gcd(in_channels, out_channels)
            self.res = nn.Conv1d(in_channels, out_channels, 1, groups=groups, bias=False)

    def forward(self, x: Tensor, condition: Tensor | None, state: State, keep: int) -> tuple[Tensor, State]:
        """Process x (batch, in_channels, time); the state that is returned is that after `keep` samples."""
        time, x = x.shape[-1], torch.cat((state["history"], x), dim=-1)
        after = {"history": x[..., keep : keep + self.history].clone()}
        y: Tensor = self.conv(x)
        if self.film is not None:
            y, film = self.film(y, condition, scoped(state, "film"))
            after |= joined({"film": film})
        elif self.bn is not None:
            y = self.bn(y)
        y = self.act(y)
        if self.res is not None and self.residual_lag is not None:
            start = self.history - self.residual_lag
            y = y + self.res(x[..., start : start + time])
        return y, after

    def after_silence(self, x: Tensor, condition: Tensor | None, steady: bool) -> tuple[Tensor, State]:
        """What comes out of the pre-roll, and the state after it.

        Silence through a convolution without padding is the same at every sample, so that one of them is
        computed and repeated; unless the condition or the modulation moves.

        Args:
            x: (batch, in_channels, time), what the blocks before made of silence; time is at least `history`.
            condition: during the pre-roll.
            steady: x and the condition are constant over time.
        """
        state: State = {"history": x[..., : self.history]}
        if self.film is not None:
            state |= joined({"film": self.film.initial_state(x.shape[0], condition)})
            steady = steady and self.film.steady
        x = x[..., self.history :]
        time = x.shape[-1]
        if time == 0:
            return x.new_zeros(x.shape[0], self.conv.out_channels, 0), state
        if steady:
            return self(x[..., :1], condition, state, 1)[0].expand(-1, -1, time), state
        own = condition[..., -time:] if condition is not None and condition.ndim == 3 else condition
        return self(x, own, state, time)  # type: ignore[no-any-return]


class TCN(Model):
    """Dilated convolutions in blocks (Bai et al., 2018, arXiv:1803.01271; Steinmetz & Reiss, 2022, arXiv:2102.06200).

    x_{n+1} = act(modulation(conv_n(x_n))) + res_n(x_n),  y = tanh(output(x_N) [+ direct_gain(audio)])

    with a dilation of dilation_growth^(n mod stack_size) in block n. A file begins in silence: its first sample
    sees receptive_field - 1 zeros. A causal model has no latency. One that is not causal sees as far ahead as
    back and streams with a latency of (receptive_field - 1) / 2.

    Args:
        num_blocks: number of blocks.
        kernel_size: taps of each convolution; odd for a model that is not causal.
        dilation_growth: factor on the dilation from block to block.
        channel_width: channels of every block.
        channel_growth: above 1, each block has that many times the channels of its input, whatever `channel_width`.
        stack_size: the dilation starts again at 1 after so many blocks.
        causal: whether it sees the past only.
        residual: add each block's input to its output, through a gain per channel.
        direct_path: add the input, through a gain, before the last tanh.
        bias: of the convolutions.
        norm: batch normalisation in every block, before the modulation.
        conditioning: how controls enter: ``film`` modulates every block, ``concatenated`` appends them to the audio.
        activation: of every block.
        residual_delay: samples by which residual and direct path arrive late in a causal model; 1 for models
            that were made with NablAFx 0.1.
        sample_rate: Hz.
        controls: the knobs.

    Raises:
        ModelError: if settings exclude each other.
    """

    def __init__(
        self,
        *,
        num_blocks: int = 5,
        kernel_size: int = 7,
        dilation_growth: int = 4,
        channel_width: int = 16,
        channel_growth: int = 1,
        stack_size: int = 12,
        causal: bool = True,
        residual: bool = True,
        direct_path: bool = False,
        bias: bool = True,
        norm: Literal["none", "batch"] = "none",
        conditioning: Literal["none", "film", "concatenated"] = "none",
        activation: ActivationName = "tanh",
        residual_delay: int = 0,
        sample_rate: int = 48000,
        controls: Sequence[Control] = (),
    ) -> None:
        super().__init__(sample_rate, controls)
        _check(num_blocks, kernel_size, causal, residual_delay)
        knobs = len(self.controls)
        self._conditioning = conditioning_named(conditioning, knobs, "TCN", ("none", "film", "concatenated"))
        self.cond_nn: Conditioner | None = self._conditioning.build_conditioner(knobs)
        self.causal = causal

        blocks: list[TCNBlock] = []
        channels = self.in_channels + self._conditioning.extra_channels(knobs)
        for n in range(num_blocks):
            wide = channels * channel_growth if channel_growth > 1 else channel_width
            dilation = dilation_growth ** (n % stack_size)
            lag = residual_delay if causal else (kernel_size - 1) * dilation // 2
            block = TCNBlock(
                channels,
                wide,
                kernel_size=kernel_size,
                dilation=dilation,
                bias=bias,
                residual_lag=lag if residual else None,
                modulation=self._conditioning.build_modulation(wide, knobs, norm),
                norm=norm,
                activation=activation,
            )
            blocks.append(block)
            channels = wide
        self.blocks = nn.ModuleList(blocks)
        self.output = nn.Conv1d(channels, self.out_channels, 1)
        self.direct_gain = nn.Conv1d(1, 1, 1, bias=False) if direct_path else None

        reach = list(accumulate(block.history for block in blocks))
        self._past = reach[-1]
        self.receptive_field = 1 + self._past
        self.latency = 0 if causal else self._past // 2
        self._block_lags = [samples // 2 for samples in reach]
        lag = residual_delay if causal else self.latency
        self._direct_lag = lag if direct_path else 0

    def initial_state(self, batch_size: int, controls: Tensor | None = None) -> State:
        """The state at the start of a file, where receptive_field - 1 zeros went before."""
        controls = first_sample(self._controls_for(batch_size, controls, None))
        return {key: value.contiguous() for key, value in self._start(batch_size, controls).items()}

    def forward(
        self, audio: Tensor, controls: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Process audio (batch, 1, time) to (batch, 1, time), offline or stream; see `Model`."""
        controls = self.checked_controls(audio, controls)
        time = audio.shape[-1]
        if state is not None:
            return self._run(audio, controls, state, time)
        state = self._start(audio.shape[0], first_sample(controls))
        constant = controls is None or controls.ndim == 2
        if self.latency:
            audio, controls = _extended(audio, controls, self.latency)
        out, state = self._run(audio, controls, state, time, constant=constant)
        return out[..., self.latency :], state

    def _start(self, batch_size: int, controls: Tensor | None) -> State:
        """The state after silence; views of few numbers, where the silence is steady."""
        audio = self.output.weight.new_zeros(batch_size, 1, 1).expand(-1, -1, self._past)
        initial = {} if self.cond_nn is None else self.cond_nn.initial_state(batch_size, controls)
        condition, state = self._condition(audio, controls, joined({"cond_nn": initial}))
        steady = condition is None or condition.ndim == 2
        x = with_condition(audio, condition) if self._conditioning.appended else audio
        with running_statistics(self):
            for n, block in enumerate(self.blocks):
                assert isinstance(block, TCNBlock)
                x, after = block.after_silence(x, condition, steady)
                state |= joined({f"blocks.{n}": after})
        if self._direct_lag:
            state["direct"] = audio[..., : self._direct_lag]
        if self.latency and controls is not None and condition is not None:
            state["controls"] = controls
            if self._conditioning.modulation:
                state["condition"] = over_time(condition, self.latency)
        return state

    def _run(
        self, audio: Tensor, controls: Tensor | None, state: State, keep: int, *, constant: bool = False
    ) -> tuple[Tensor, State]:
        """The output for all of `audio`, and the state after its first `keep` samples.

        Args:
            constant: the controls are those of `state` and do not move.
        """
        condition, after = self._condition(audio, controls, state)
        if self.latency and controls is not None:
            after["controls"] = last_sample(controls)
        conditions = [condition] * len(self.blocks)
        if "condition" in state and condition is not None:
            whole = torch.cat((state["condition"], over_time(condition, audio.shape[-1])), dim=-1)
            after["condition"] = whole[..., keep : keep + self.latency].clone()
            if not constant:
                conditions = [whole[..., self.latency - lag :][..., : audio.shape[-1]] for lag in self._block_lags]
        x = with_condition(audio, condition) if self._conditioning.appended else audio
        for n, (block, own) in enumerate(zip(self.blocks, conditions, strict=True)):
            x, after_block = block(x, own, scoped(state, f"blocks.{n}"), keep)
            after |= joined({f"blocks.{n}": after_block})
        y = self.output(x)
        if self.direct_gain is not None:
            direct = torch.cat((state["direct"], audio), dim=-1) if self._direct_lag else audio
            y = y + self.direct_gain(direct[..., : audio.shape[-1]])
            if self._direct_lag:
                after["direct"] = direct[..., keep : keep + self._direct_lag].clone()
        return torch.tanh(y), after

    def _condition(self, audio: Tensor, controls: Tensor | None, state: State) -> tuple[Tensor | None, State]:
        if self.cond_nn is None:
            return controls, {}
        condition, after = self.cond_nn(audio, controls, scoped(state, "cond_nn"))
        return condition, joined({"cond_nn": after})


def _check(num_blocks: int, kernel_size: int, causal: bool, residual_delay: int) -> None:
    if num_blocks < 1 or kernel_size < 1:
        raise ModelError(f"TCN: num_blocks {num_blocks} and kernel_size {kernel_size} must be at least 1.")
    if not causal and kernel_size % 2 == 0:
        raise ModelError(f"TCN: kernel_size {kernel_size} has no middle; a model that is not causal needs an odd one.")
    if not 0 <= residual_delay < kernel_size:
        raise ModelError(f"TCN: residual_delay {residual_delay} must be from 0 to kernel_size - 1 = {kernel_size - 1}.")
    if residual_delay and not causal:
        raise ModelError("TCN: residual_delay belongs to causal models; leave it 0 when `causal: false`.")


def _extended(audio: Tensor, controls: Tensor | None, samples: int) -> tuple[Tensor, Tensor | None]:
    """Silence after the audio, under the last controls."""
    if controls is not None and controls.ndim == 3:
        controls = torch.cat((controls, controls[..., -1:].expand(-1, -1, samples)), dim=-1)
    return F.pad(audio, (0, samples)), controls
