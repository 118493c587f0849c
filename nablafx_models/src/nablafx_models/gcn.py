"""Gated convolutional network."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from nablafx_core.state import State
from nablafx_models.dilated_block import BlockLayout, DilatedBlock, Fused
from nablafx_models.dilated_network import DilatedNetwork
from nablafx_models.functional.dilated_convolution import ConvolutionSettings, dilated_convolution
from nablafx_models.streamed import Flow


class GCNBlock(DilatedBlock):
    """x' = mix(z) [+ x], z = tanh(a) sigmoid(b), [a, b] = modulation(conv(x)); the block contributes z to the output.

    The last block returns z as x', which nothing uses. It still has a frozen layer ``mix``, so that weights and
    parameter counts match NablAFx 1.0.

    Args:
        layout: size and settings. The last block has no residual. Nor has a block whose input has neither one channel,
            which is added to all channels, nor as many channels as its output.
    """

    def __init__(self, layout: BlockLayout) -> None:
        channels, last = layout.out_channels, layout.last
        if last or layout.in_channels not in (1, channels):
            layout = layout._replace(residual_lag=None)
        super().__init__(layout, 2 * channels)
        self.mix = nn.Conv1d(channels, channels, 1, bias=layout.bias).requires_grad_(not last)
        self.mix.samples_per_step = math.inf if last else 1  # type: ignore[assignment]
        self._last = last

    def outputs(self, features: Tensor, residual: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the input of the next block (z for the last block), and z, the contribution to the output.

        Args:
            features: a and b, modulated or normalised, (batch, 2 channels, time).
            residual: the aligned input, (batch, in_channels, time); None without a residual.
        """
        a, b = features.chunk(2, dim=1)
        z = torch.tanh(a) * torch.sigmoid(b)
        if self._last:
            return z, z
        x = self.mix(z)
        return (x if residual is None else x + residual), z

    def fused(self) -> Fused | None:
        """Return the gate, without a residual; None if the block has a batch norm of its own before the gate."""
        return None if self.bn is not None else Fused("gate")

    def finish_fused(self, activated: Tensor, residual: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the input of the next block (z for the last block), and z, the contribution to the output.

        Args:
            activated: z, (batch, channels, time).
            residual: the aligned input, (batch, in_channels, time); None without a residual.
        """
        if self._last:
            return activated, activated
        x = dilated_convolution(activated, self.mix.weight, self.mix.bias, ConvolutionSettings(1))
        return (x if residual is None else x + residual), activated


class GCN(DilatedNetwork):
    """Gated dilated convolutions in blocks whose outputs are summed (Comunità et al., 2022, arXiv:2211.00497).

    z_n = tanh(a_n) sigmoid(b_n), [a_n, b_n] = modulation(conv_n(x_n)), x_{n+1} = mix_n(z_n) [+ x_n],
    y = mix([z_0, z_1, …]) [+ direct_gain(audio)]

    ``mix`` is a weighted sum of all channels of all blocks, with a bias if `bias`. This is a WaveNet (van den Oord et
    al., 2016, arXiv:1609.03499) without the layers after its sum. The input x_n of a block is added if the block has as
    many channels or x_n has one, which is then added to all channels. A modulation acts on both halves of a block.
    Before a file the network sees silence.

    Args:
        channel_growth: if above 1, each block has that many times the channels of its input, and `channel_width` has
            no effect; then no block has a residual, except a first block with an input of one channel.
    """

    def __init__(self, **network: Any) -> None:
        super().__init__(**network)
        self._widths = [layout.out_channels for layout in self._layouts]
        self.blocks = nn.ModuleList(GCNBlock(layout) for layout in self._layouts)
        self.mix = nn.Conv1d(sum(self._widths), self.out_channels, 1, bias=self._layouts[0].bias)
        self._connect()

    def _delay_lines(self, batch_size: int, like: Tensor) -> State:
        names = [f"sum.{n}" for n in range(len(self.blocks))]
        return {name: like.new_zeros(batch_size, 1, 0) for name in names} | super()._delay_lines(batch_size, like)

    def _output(self, x: Flow, contributions: list[Flow | None], audio: Flow, state: State) -> tuple[Tensor, State]:
        """Return the output for the samples of x, and the state of the delay lines; see `DilatedNetwork._output`.

        Each z is mixed down to one channel before it is delayed, so that delay lines are small.
        """
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
        y, direct = self._add_direct_path(y, x, audio, state)
        return y, after | direct
