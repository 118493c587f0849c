"""Recurrent network that takes one step per block of samples, as a stream."""

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
    """LSTM over the maxima of blocks of `block_size` samples, with one step s_b per block b.

    s_b = adapt(LSTM(reduce(m_b), controls at the block's first sample))

    With `lookahead`, m_b is the maximum per channel of block b itself, so no sample of a block can be used before the
    block is complete. Without it, m_b is the maximum of the block before (0 for the first block), and no sample is
    held back. The end of a signal is treated as if zeros followed up to a whole block.

    The state contains ``block``, the samples of the incomplete block (its length is the phase of the grid, which begins
    at the first sample of the signal); ``knobs``, the controls at its first sample; ``hidden`` and ``cell``; without
    look-ahead also ``before``, the maximum of the block before, and ``step``, the current step.

    Args:
        channels: number of channels of the signal.
        num_controls: number of controls that are appended to the maxima; 0 for none.
        hidden_size: size of the LSTM's hidden state.
        reduced: number of channels of the maxima after `reduce`; that of the signal if None.
        num_layers: number of layers of the LSTM.
        block_size: number of samples in a block.
        lookahead: true if a block's step depends on the block itself.
        beside: arguments of the other base classes.
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
        """Number of samples per step: the block size."""
        return self.block_size

    @property
    def grid(self) -> int:
        """Number of samples in the blocks for which the signal is held back; 1 if it is not held back."""
        return self.block_size if self.lookahead else 1

    def held(self, state: State) -> int:
        """Return the number of samples that are held back in a state."""
        return state["block"].shape[-1] if self.lookahead else 0

    @property
    def step_channels(self) -> int:
        """Number of channels of a step."""
        return self.lstm.hidden_size

    def pool(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        """Return the maxima of whole blocks, (batch, channels, blocks), and the signal for further processing."""
        maxima, blocks = block_maxima(signal, self.block_size)
        return maxima, blocks.flatten(-2)

    def reduce(self, maxima: Tensor) -> Tensor:
        """Return the LSTM's input from the maxima, (batch, reduced, blocks)."""
        return maxima

    def adapt(self, sequence: Tensor) -> Tensor:
        """Return steps (batch, step_channels, blocks) from the LSTM's output (batch, hidden_size, blocks)."""
        return sequence

    def initial_state(self, batch_size: int) -> State:
        """Return the state before the first sample."""
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
        """Take the steps of all blocks that the signal completes.

        Args:
            signal: new samples, (batch, channels, time).
            controls: controls of the new samples, (batch, num_controls) or (batch, num_controls, time); None without
                controls.
            state: state from `initial_state` or the previous call.
            final: true for the end of the signal; with look-ahead, the incomplete block is then used as well.
            whole: true if `signal` begins with the samples that were held back.
            maxima: result of `pool`, if already computed, for every block of which the signal has samples, (batch,
                channels, blocks); the whole signal is then returned.
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
        """Return the samples after the last complete block; `before` samples of `block` come before the signal."""
        start = complete * self.block_size - before
        if start >= 0:
            return signal[..., start:].clone()
        return torch.cat((block, signal), dim=-1) if signal.shape[-1] else block

    def _pooled(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        return self.pool(signal) if signal.shape[-1] else (signal, signal)  # torch cannot pool an empty signal

    def _at_block_starts(self, controls: Tensor | None, state: State, before: int, touched: int) -> Tensor:
        """Return the controls at the first sample of each block that has samples, (batch, num_controls, blocks)."""
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
