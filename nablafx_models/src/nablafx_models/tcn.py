"""Temporal convolutional networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import gcd
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from nablafx_core.controls import Control
from nablafx_core.marks import Range
from nablafx_core.nn.activation import ActivationName
from nablafx_core.nn.activation import activation as activation_named
from nablafx_core.nn.rational import Degrees, FunctionName
from nablafx_core.state import State
from nablafx_models.conditioning.table import BlockSettings, ConditioningName, conditioned
from nablafx_models.dilated import DilatedBlock, DilatedNetwork, Fused, check_settings
from nablafx_models.streamed import Flow

CONDITIONINGS = ("none", "film", "tfilm", "ttfilm", "tvfilm", "concatenated", "tv_concatenated")


class TCNBlock(DilatedBlock):
    """activation(modulation(conv(x))) + res(x); see `DilatedBlock` for the other arguments.

    Args:
        out_channels: of the block.
        norm: ``"batch"`` or ``"none"``; the modulation's own where there is one.
        make_activation: makes the activation from the number of channels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        norm: str,
        make_activation: Callable[[int], nn.Module],
        **settings: Any,
    ) -> None:
        super().__init__(in_channels, out_channels, out_channels, **settings)
        self.bn = nn.BatchNorm1d(out_channels) if norm == "batch" and self.film is None else None
        self.act = make_activation(out_channels)
        self.res = None
        if self.residual_lag is not None:
            groups = gcd(in_channels, out_channels)
            self.res = nn.Conv1d(in_channels, out_channels, 1, groups=groups, bias=False)

    def outputs(self, features: Tensor, residual: Tensor | None) -> tuple[Tensor, None]:
        """The next block's input; the network reads the last block alone."""
        if self.bn is not None:
            features = self.bn(features)
        y: Tensor = self.act(features)
        if self.res is None or residual is None:
            return y, None
        if self.res.weight.shape[1] == 1 and residual.shape[1] in (1, y.shape[1]):
            return y + self.res.weight[:, 0] * residual, None  # what the convolution is, without its way through groups
        return y + self.res(residual), None

    def fused(self) -> Fused | None:
        """Tanh and residual, if that is what the block consists of."""
        mixed = self.res is not None and self.res.weight.shape[1] > 1
        if self.bn is not None or type(self.act) is not nn.Tanh or mixed:
            return None
        return Fused("tanh", None if self.res is None else self.res.weight.flatten())


class TCN(DilatedNetwork):
    """Dilated convolutions in blocks (Bai et al., 2018, arXiv:1803.01271; Steinmetz & Reiss, 2022, arXiv:2102.06200).

    x_{n+1} = act(modulation(conv_n(x_n))) + res_n(x_n),  y = tanh(output(x_N) [+ direct_gain(audio)])

    with a dilation of dilation_growth^(n mod stack_size) in block n. A file begins in silence: its first sample
    sees receptive_field - 1 zeros. A causal model has no latency, unless its conditioning looks ahead. One that is not
    causal sees as far ahead as back and streams with a latency of (receptive_field - 1) / 2.

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
        conditioning: how controls enter: ``film`` modulates every block; ``tfilm`` and ``ttfilm`` (tiny) too, by the
            maxima of its own features in blocks of samples; ``tvfilm`` by those of the audio; ``concatenated`` appends
            the controls to the audio, ``tv_concatenated`` a sequence made of them and of the audio's maxima.
        lookahead: conditionings that work in blocks use a block's own maximum, and the model waits for it; otherwise
            that of the block before, without latency.
        cond_block_size: samples of such a block.
        cond_num_layers: recurrent layers of such a conditioning.
        alignment: ``start`` gives every layer the step of tvfilm in whose block a sample lies; ``end`` is for models
            that were made with NablAFx 1.0.
        activation: of every block.
        rational_degrees: of the numerator and the denominator of ``activation: rational``.
        rational_function: that a rational activation begins as.
        residual_delay: samples by which residual and direct path arrive late in a causal model; 1 for models
            that were made with NablAFx 1.0.
        sample_rate: Hz.
        controls: the knobs.

    Raises:
        ModelError: if settings exclude each other.
    """

    def __init__(
        self,
        *,
        num_blocks: Annotated[int, Range(1, 128)] = 5,
        kernel_size: Annotated[int, Range(1, 4096)] = 7,
        dilation_growth: Annotated[int, Range(1, 1024)] = 4,
        channel_width: Annotated[int, Range(1, 4096)] = 16,
        channel_growth: Annotated[int, Range(1, 16)] = 1,
        stack_size: Annotated[int, Range(1, 256)] = 12,
        causal: bool = True,
        residual: bool = True,
        direct_path: bool = False,
        bias: bool = True,
        norm: Literal["none", "batch"] = "none",
        conditioning: ConditioningName = "none",
        lookahead: bool = True,
        cond_block_size: Annotated[int, Range(1, 65_536)] = 128,
        cond_num_layers: Annotated[int, Range(1, 16)] = 1,
        alignment: Literal["start", "end"] = "start",
        activation: ActivationName = "tanh",
        rational_degrees: Degrees = (6, 5),
        rational_function: FunctionName = "tanh",
        residual_delay: Annotated[int, Range(0, 65_536)] = 0,
        sample_rate: int = 48000,
        controls: Sequence[Control] = (),
    ) -> None:
        check_settings("TCN", num_blocks, kernel_size, causal, residual_delay, alignment, conditioning, lookahead)
        chosen = conditioned(
            "TCN",
            conditioning,
            len(controls),
            offered=CONDITIONINGS,
            norm=norm,
            blocks=BlockSettings(cond_block_size, lookahead, cond_num_layers),
        )
        super().__init__(sample_rate, controls, causal, chosen)
        blocks: list[DilatedBlock] = []
        channels = self.in_channels + chosen.extra_channels
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
                conditioned=chosen,
                norm=norm,
                make_activation=lambda size: activation_named(activation, size, rational_degrees, rational_function),
            )
            blocks.append(block)
            channels = wide
        self._prepare(blocks, residual_delay, alignment == "end")
        self.output = nn.Conv1d(channels, self.out_channels, 1)
        self.direct_gain = nn.Conv1d(1, 1, 1, bias=False) if direct_path else None

    def _lines(self, batch_size: int, like: Tensor) -> State:
        return {} if self.direct_gain is None else {"direct": like.new_zeros(batch_size, 1, 0)}

    def _output(self, x: Flow, contributions: list[Flow | None], audio: Flow, state: State) -> tuple[Tensor, State]:
        y, after = self.output(x.values) if x.values.shape[-1] else x.values[:, :1], {}
        if self.direct_gain is not None:
            direct, after["direct"] = audio.line(state["direct"], x, self._direct_delay)
            y = y + self.direct_gain.weight[0, 0] * direct
        return torch.tanh(y), after
