"""Gated convolutional networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from nablafx_core.controls import Control
from nablafx_core.marks import Range
from nablafx_core.state import State
from nablafx_models.conditioning.table import BlockSettings, ConditioningName, conditioned
from nablafx_models.dilated import DilatedBlock, DilatedNetwork, Fused, check_settings
from nablafx_models.kernels.dilated import Settings, dilated
from nablafx_models.streamed import Flow
from nablafx_models.tcn import CONDITIONINGS


class GCNBlock(DilatedBlock):
    """z = tanh(a) sigmoid(b) for [a, b] = modulation(conv(x)); the next input is mix(z) + x, the contribution z.

    See `DilatedBlock` for the other arguments.

    Args:
        out_channels: of z.
        norm: ``"batch"`` or ``"none"``; the modulation's own where there is one.
        bias: of the convolution and of ``mix``.
        last: no block follows, so that nothing reads ``mix``; it is there for NablAFx's keys and counts, and frozen.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, norm: str, bias: bool, last: bool, **settings: Any
    ) -> None:
        super().__init__(in_channels, out_channels, 2 * out_channels, bias=bias, **settings)
        self.bn = nn.BatchNorm1d(2 * out_channels) if norm == "batch" and self.film is None else None
        self.mix = nn.Conv1d(out_channels, out_channels, 1, bias=bias).requires_grad_(not last)
        self.mix.samples_per_step = math.inf if last else 1  # type: ignore[assignment]
        self._last = last

    def outputs(self, features: Tensor, residual: Tensor | None) -> tuple[Tensor, Tensor]:
        """The next block's input, and z."""
        if self.bn is not None:
            features = self.bn(features)
        a, b = features.chunk(2, dim=1)
        z = torch.tanh(a) * torch.sigmoid(b)
        if self._last:
            return z, z
        x = self.mix(z)
        return (x if residual is None else x + residual), z

    def fused(self) -> Fused | None:
        """The gate, unless a norm stands before it."""
        return None if self.bn is not None else Fused("gate")

    def finished(self, activated: Tensor, residual: Tensor | None) -> tuple[Tensor, Tensor]:
        """The next block's input, and z."""
        if self._last:
            return activated, activated
        x = dilated(activated, self.mix.weight, self.mix.bias, Settings(1))
        return (x if residual is None else x + residual), activated


class GCN(DilatedNetwork):
    """Gated dilated convolutions in blocks whose outputs are summed (Comunità et al., 2022, arXiv:2211.00497).

    z_n = tanh(a_n) sigmoid(b_n), [a_n, b_n] = modulation(conv_n(x_n)), x_{n+1} = mix_n(z_n) + x_n,
    y = sum over n of mix(z_n) [+ direct_gain(audio)]

    with a dilation of dilation_growth^(n mod stack_size) in block n; a WaveNet (van den Oord et al., 2016,
    arXiv:1609.03499) without the layers after its sum. The input has one channel and is added to all of the first
    block's. Latency as in `TCN`.

    Args:
        num_blocks: number of blocks.
        kernel_size: taps of each convolution; odd for a model that is not causal.
        dilation_growth: factor on the dilation from block to block.
        channel_width: channels of every block.
        channel_growth: above 1, each block has that many times the channels of its input, whatever `channel_width`;
            its residual is then left out where the channels do not fit.
        stack_size: the dilation starts again at 1 after so many blocks.
        causal: whether it sees the past only.
        residual: add each block's input to the next one's.
        direct_path: add the input, through a gain, to the output.
        bias: of all convolutions, those that mix included.
        norm: batch normalisation in every block, before the modulation.
        conditioning: how controls enter; see `TCN`. Modulations act on both halves of a block.
        lookahead: conditionings that work in blocks use a block's own maximum, and the model waits for it; otherwise
            that of the block before, without latency.
        cond_block_size: samples of such a block.
        cond_num_layers: recurrent layers of such a conditioning.
        alignment: ``start`` gives every layer the step of tvfilm in whose block a sample lies; ``end`` is for models
            that were made with NablAFx 1.0.
        residual_delay: samples by which residuals, sums and direct path arrive late in a causal model; 1 for models
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
        residual_delay: Annotated[int, Range(0, 65_536)] = 0,
        sample_rate: int = 48000,
        controls: Sequence[Control] = (),
    ) -> None:
        check_settings("GCN", num_blocks, kernel_size, causal, residual_delay, alignment, conditioning, lookahead)
        chosen = conditioned(
            "GCN",
            conditioning,
            len(controls),
            offered=CONDITIONINGS,
            norm=norm,
            blocks=BlockSettings(cond_block_size, lookahead, cond_num_layers),
        )
        super().__init__(sample_rate, controls, causal, chosen)
        blocks: list[DilatedBlock] = []
        widths: list[int] = []
        channels = self.in_channels + chosen.extra_channels
        for n in range(num_blocks):
            wide = channels * channel_growth if channel_growth > 1 else channel_width
            dilation = dilation_growth ** (n % stack_size)
            lag = residual_delay if causal else (kernel_size - 1) * dilation // 2
            block = GCNBlock(
                channels,
                wide,
                kernel_size=kernel_size,
                dilation=dilation,
                bias=bias,
                residual_lag=lag if residual and n + 1 < num_blocks and channels in (1, wide) else None,
                conditioned=chosen,
                norm=norm,
                last=n + 1 == num_blocks,
            )
            blocks.append(block)
            widths.append(wide)
            channels = wide
        self._prepare(blocks, residual_delay, alignment == "end")
        self._widths = widths
        self.mix = nn.Conv1d(sum(widths), self.out_channels, 1, bias=bias)
        self.direct_gain = nn.Conv1d(1, 1, 1, bias=False) if direct_path else None

    def _lines(self, batch_size: int, like: Tensor) -> State:
        names = [f"sum.{n}" for n in range(len(self.blocks))] + ["direct"] * (self.direct_gain is not None)
        return {name: like.new_zeros(batch_size, 1, 0) for name in names}

    def _output(self, x: Flow, contributions: list[Flow | None], audio: Flow, state: State) -> tuple[Tensor, State]:
        """Each z is mixed down to the one output channel before it waits for the last."""
        after: State = {}
        y = None
        parts = zip(contributions, torch.split(self.mix.weight, self._widths, dim=1), self._sum_delays, strict=True)
        for n, (flow, weight, delay) in enumerate(parts):
            assert flow is not None
            mixed = torch.einsum("oci,bct->bot", weight, flow.values)
            part, after[f"sum.{n}"] = Flow(mixed, flow.lag).line(state[f"sum.{n}"], x, delay)
            y = part if y is None else y + part
        assert y is not None
        if self.mix.bias is not None:
            y = y + self.mix.bias[:, None]
        if self.direct_gain is not None:
            direct, after["direct"] = audio.line(state["direct"], x, self._direct_delay)
            y = y + self.direct_gain.weight[0, 0] * direct
        return y, after
