"""Recurrent networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, nn

from nablafx_core.controls import Control
from nablafx_core.errors import ModelError
from nablafx_core.functional.lstm import lstm
from nablafx_core.marks import Range
from nablafx_core.state import State
from nablafx_models.conditioning.table import BlockSettings, conditioned
from nablafx_models.streamed import StreamedModel


class LSTM(StreamedModel):
    """Long short-term memory (Wright et al., 2019, "Real-time black-box modelling with recurrent neural networks").

    h[n], c[n] = LSTM(x[n], h[n-1], c[n-1]),  y[n] = tanh(lin(h[n]) [+ x[n]] [+ tanh(direct_gain x[n])])

    Before a file begins, h = c = 0 and `pre_roll` samples of silence run through the network, as through a pedal that
    is switched on and not yet played: from h = c = 0 alone a trained network starts with a click.

    Args:
        hidden_size: of the recurrent state.
        num_layers: recurrent layers.
        residual: add the audio to what the network computes.
        direct_path: add the audio through a gain and a tanh.
        conditioning: how controls enter: ``concatenated`` appends them to the audio, ``tv_concatenated`` a sequence
            that a small LSTM makes of them and of the audio's maxima in blocks of samples.
        lookahead: tv_concatenated uses a block's own maximum, and the model waits for it; otherwise that of the block
            before, without latency.
        cond_block_size: samples of such a block.
        cond_num_layers: recurrent layers of such a conditioning.
        pre_roll: samples of silence before a file; 0 for models that were made with NablAFx 1.0.
        sample_rate: Hz.
        controls: the knobs.

    Raises:
        ModelError: if conditioning and controls exclude each other.
    """

    default_tbptt: ClassVar[int | None] = 2048

    def __init__(
        self,
        *,
        hidden_size: Annotated[int, Range(1, 8192)] = 32,
        num_layers: Annotated[int, Range(1, 64)] = 1,
        residual: bool = True,
        direct_path: bool = False,
        conditioning: Literal["none", "concatenated", "tv_concatenated"] = "none",
        lookahead: bool = True,
        cond_block_size: Annotated[int, Range(1, 65_536)] = 128,
        cond_num_layers: Annotated[int, Range(1, 16)] = 1,
        pre_roll: Annotated[int, Range(0, 16_777_216)] = 4800,
        sample_rate: int = 48000,
        controls: Sequence[Control] = (),
    ) -> None:
        if hidden_size < 1 or num_layers < 1 or pre_roll < 0:
            raise ModelError(
                f"LSTM: hidden_size {hidden_size} and num_layers {num_layers} must be at least 1, pre_roll {pre_roll} "
                "at least 0."
            )
        chosen = conditioned(
            "LSTM",
            conditioning,
            len(controls),
            offered=("none", "concatenated", "tv_concatenated"),
            blocks=BlockSettings(cond_block_size, lookahead, cond_num_layers),
        )
        super().__init__(sample_rate, controls, chosen)
        channels = self.in_channels + chosen.extra_channels
        self.lstm = nn.LSTM(channels, hidden_size, num_layers, batch_first=True)
        self.lin = nn.Linear(hidden_size, self.out_channels)
        self.direct_gain = nn.Conv1d(1, 1, 1, bias=False) if direct_path else None
        self.residual = residual
        self.pre_roll = pre_roll
        self.latency = 0 if self.cond_nn is None else self.cond_nn.grid - 1

    def _empty(self, like: Tensor) -> State:
        layers = (like.shape[0], self.lstm.num_layers, self.lstm.hidden_size)
        return {"hidden": like.new_zeros(layers), "cell": like.new_zeros(layers)}

    def _run(
        self,
        audio: Tensor,
        controls: Tensor | None,
        state: State,
        *,
        final: bool = False,
        constant: bool = False,
        length: int = 0,
    ) -> tuple[Tensor, State]:
        (x, _), _, after = self._conditions(audio, controls, state, final, constant, length)
        ready = x[:, :1]
        if not ready.shape[-1]:  # torch has no recurrence over nothing
            return ready, after | {key: state[key] for key in ("hidden", "cell")}
        before = state["hidden"].transpose(0, 1).contiguous(), state["cell"].transpose(0, 1).contiguous()
        features, (hidden, cell) = lstm(self.lstm, x.mT, before)
        y = self.lin(features).mT
        if self.residual:
            y = y + ready
        if self.direct_gain is not None:
            y = y + torch.tanh(self.direct_gain(ready))
        return torch.tanh(y), after | {"hidden": hidden.transpose(0, 1), "cell": cell.transpose(0, 1)}
