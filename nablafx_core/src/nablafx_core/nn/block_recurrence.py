"""A recurrent network that takes one step per block of samples, as a stream."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nablafx_core.functional.block_maxima import block_maxima
from nablafx_core.functional.lstm import lstm
from nablafx_core.state import State
from nablafx_core.steps import BlockStep, Steps


class BlockRecurrence(nn.Module):
    """s_b = adapt(LSTM(reduce(m_b), controls at the block's first sample)), one step per block of `block_size` samples.

    m_b is the maximum of the block's samples per channel. With `lookahead` it is the maximum of the block itself, so
    that no sample of a block can be used before the block is complete; without, that of the block before (0 for the
    first one), and nothing waits. The end of a signal counts as if it were followed by zeros up to a whole block.

    The state: ``block``, the samples of the unfinished block (its length is the phase of the grid, which begins where
    the signal began); ``knobs``, the controls at its first sample; ``hidden`` and ``cell``; without look-ahead
    ``before``, the maximum of the block before, and ``step``, the step in use.

    Args:
        channels: of the signal.
        num_controls: appended to the maxima; 0 for none.
        hidden_size: of the LSTM.
        reduced: channels of the maxima after `reduce`; those of the signal if None.
        num_layers: of the LSTM.
        block_size: samples.
        lookahead: whether a block is used for itself.
        beside: arguments of a class that stands beside this one among the bases.
    """

    def __init__(
        self,
        channels: int,
        num_controls: int,
        hidden_size: int,
        *,
        reduced: int | None = None,
        num_layers: int = 1,
        block_size: int = 128,
        lookahead: bool = True,
        **beside: Any,
    ) -> None:
        super().__init__(**beside)
        self.channels = channels
        self.num_controls = num_controls
        self.block_size = block_size
        self.lookahead = lookahead
        inputs = (channels if reduced is None else reduced) + num_controls
        self.lstm = nn.LSTM(inputs, hidden_size, num_layers, batch_first=True)

    @property
    def samples_per_step(self) -> int:
        """It takes a step per block."""
        return self.block_size

    @property
    def grid(self) -> int:
        """Samples of the blocks for which the signal is held back; 1 if nothing is."""
        return self.block_size if self.lookahead else 1

    def held(self, state: State) -> int:
        """Samples that are held back in a state."""
        return state["block"].shape[-1] if self.lookahead else 0

    @property
    def step_channels(self) -> int:
        """Channels of a step."""
        return self.lstm.hidden_size

    def pool(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        """Maxima of whole blocks, (batch, channels, blocks), and the signal to go on with."""
        maxima, blocks = block_maxima(signal, self.block_size)
        return maxima, blocks.flatten(-2)

    def reduce(self, maxima: Tensor) -> Tensor:
        """What the LSTM is given of the maxima, (batch, reduced, blocks)."""
        return maxima

    def adapt(self, sequence: Tensor) -> Tensor:
        """Steps (batch, step_channels, blocks) from the LSTM's output (batch, hidden_size, blocks)."""
        return sequence

    def initial_state(self, batch_size: int) -> State:
        """Before the first sample."""
        zeros = next(self.parameters()).new_zeros
        layers = (batch_size, self.lstm.num_layers, self.lstm.hidden_size)
        state = {"block": zeros(batch_size, self.channels, 0), "hidden": zeros(layers), "cell": zeros(layers)}
        if self.num_controls:
            state["knobs"] = zeros(batch_size, self.num_controls)
        if not self.lookahead:
            state |= {
                "before": zeros(batch_size, self.channels),
                "step": zeros(batch_size, self.step_channels),
            }
        return state

    def advance(
        self,
        signal: Tensor,
        controls: Tensor | None,
        state: State,
        final: bool = False,
        *,
        whole: bool = False,
        maxima: Tensor | None = None,
    ) -> BlockStep:
        """Take the steps that the signal allows.

        Args:
            signal: (batch, channels, time), the new samples.
            controls: (batch, num_controls), or (batch, num_controls, time) for the new samples; None without.
            state: from `initial_state` or the call before.
            final: nothing follows, so that with look-ahead the unfinished block is used as well.
            whole: the samples that were held back are given again, before the new ones.
            maxima: of `pool`, if they are at hand, (batch, channels, blocks), of every block that the signal has
                samples of; the signal is then given back whole.
        """
        size, block = self.block_size, state["block"]
        before = block.shape[-1]
        held = before if self.lookahead else 0
        if held and not whole:
            signal = torch.cat((block, signal), dim=-1)
        time = signal.shape[-1] + before - held
        complete, touched = time // size, -(-time // size)
        knobs = self._at_block_starts(controls, state, before, touched)
        after = {"block": self._unfinished(signal, block, before - held, complete)}
        if self.lookahead:
            first, count = 0, touched if final else complete
            end = time if final else complete * size
            if maxima is None:
                maxima, pooled = self._pooled(F.pad(signal, (0, -time % size)) if final else signal[..., :end])
                signal = pooled[..., :end]
            elif final and time % size:  # followed by zeros
                maxima = torch.cat((maxima[..., :-1], maxima[..., -1:].clamp(min=0)), dim=-1)
        else:
            first, count = -(-before // size), touched
            if maxima is None:
                padded = torch.cat((block, signal), dim=-1) if before else signal
                maxima, _ = self._pooled(padded[..., : complete * size])
            elif before and touched:
                begun = torch.maximum(maxima[..., :1], block.amax(dim=-1, keepdim=True))
                maxima = torch.cat((begun, maxima[..., 1:]), dim=-1)
            maxima = torch.cat((state["before"][..., None], maxima[..., :complete]), dim=-1)
        steps, recurrent = self._steps(maxima[..., first:count], knobs[..., first:count], state)
        after |= recurrent
        if self.num_controls:
            after["knobs"] = knobs[..., -1] if touched else state["knobs"]
        if self.lookahead:
            return BlockStep(signal, Steps(steps, count * size - end, size), after)
        if first:
            steps = torch.cat((state["step"][..., None], steps), dim=-1)
        after |= {"before": maxima[..., -1], "step": steps[..., -1] if touched else state["step"]}
        return BlockStep(signal, Steps(steps, touched * size - time, size), after)

    def _unfinished(self, signal: Tensor, block: Tensor, before: int, complete: int) -> Tensor:
        """The samples after the last complete block, where `before` samples of `block` come before the signal."""
        start = complete * self.block_size - before
        if start >= 0:
            return signal[..., start:].clone()
        return torch.cat((block, signal), dim=-1) if signal.shape[-1] else block

    def _pooled(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        return self.pool(signal) if signal.shape[-1] else (signal, signal)  # torch pools no empty signal

    def _at_block_starts(self, controls: Tensor | None, state: State, before: int, touched: int) -> Tensor:
        """Controls at the first sample of each block that has samples, (batch, num_controls, blocks)."""
        batch = state["block"].shape[0]
        if controls is None or not self.num_controls:
            return state["block"].new_zeros(batch, 0, touched)
        if controls.ndim == 2:
            new = controls[..., None].expand(-1, -1, touched - (before > 0))
        else:
            new = controls[..., -before % self.block_size :: self.block_size]
        return torch.cat((state["knobs"][..., None], new), dim=-1) if before else new

    def _steps(self, maxima: Tensor, knobs: Tensor, state: State) -> tuple[Tensor, State]:
        if maxima.shape[-1] == 0:
            return maxima.new_zeros(maxima.shape[0], self.step_channels, 0), _recurrent(state)
        inputs = torch.cat((self.reduce(maxima), knobs), dim=1).mT
        start = state["hidden"].transpose(0, 1).contiguous(), state["cell"].transpose(0, 1).contiguous()
        sequence, (hidden, cell) = lstm(self.lstm, inputs, start)
        return self.adapt(sequence.mT), {"hidden": hidden.transpose(0, 1), "cell": cell.transpose(0, 1)}


def _recurrent(state: State) -> State:
    return {key: state[key] for key in ("hidden", "cell")}
