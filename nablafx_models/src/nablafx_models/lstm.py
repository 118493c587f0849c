"""Recurrent network (LSTM)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn

from nablafx_core.errors import ModelError
from nablafx_core.functional.lstm import lstm
from nablafx_core.marks import Range
from nablafx_core.state import State
from nablafx_models.conditioning.table import AppendedName
from nablafx_models.streamed import StreamedModel


class LSTM(StreamedModel):
    """Long short-term memory (Wright et al., 2019, "Real-time black-box modelling with recurrent neural networks").

    h[n], c[n] = LSTM(x[n], h[n-1], c[n-1]),  y[n] = tanh(lin(h[n]) [+ x[n]] [+ tanh(direct_gain x[n])])

    x is the audio. The LSTM, and only the LSTM, also receives the channels that a conditioning appends to it. Before a
    file, h = c = 0 and the network processes `pre_roll` samples of silence, like a pedal that is switched on and not
    yet played. A network that was trained with a pre-roll starts with a click without it.

    Args:
        hidden_size: hidden size of the recurrent layers.
        num_layers: number of recurrent layers.
        residual: add the audio to the output of the network, before the last tanh.
        direct_path: add the audio, through a gain and a tanh, before the last tanh.
        pre_roll: samples of silence before a file; 0 for models made with NablAFx 1.0.

    Raises:
        ModelError: if a setting is too small, the conditioning would modulate layers, or the conditioning and the
            controls cannot be combined.
    """

    default_tbptt: ClassVar[int | None] = 2048
    modulates: ClassVar[bool] = False

    def __init__(
        self,
        *,
        hidden_size: Annotated[int, Range(1, 8192)] = 32,
        num_layers: Annotated[int, Range(1, 64)] = 1,
        residual: bool = True,
        direct_path: bool = False,
        conditioning: AppendedName = "none",
        pre_roll: Annotated[int, Range(0, 16_777_216)] = 4800,
        **shared: Any,
    ) -> None:
        if hidden_size < 1 or num_layers < 1 or pre_roll < 0:
            raise ModelError(
                f"LSTM: hidden_size {hidden_size} and num_layers {num_layers} must be at least 1, pre_roll {pre_roll} "
                "at least 0."
            )
        super().__init__(conditioning=conditioning, **shared)
        channels = self.in_channels + self._conditioning.extra_channels
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
        if not ready.shape[-1]:  # torch's LSTM rejects an empty sequence
            return ready, after | {key: state[key] for key in ("hidden", "cell")}
        before = state["hidden"].transpose(0, 1).contiguous(), state["cell"].transpose(0, 1).contiguous()
        features, (hidden, cell) = lstm(self.lstm, x.mT, before)
        y = self.lin(features).mT
        if self.residual:
            y = y + ready
        if self.direct_gain is not None:
            y = y + torch.tanh(self.direct_gain(ready))
        return torch.tanh(y), after | {"hidden": hidden.transpose(0, 1), "cell": cell.transpose(0, 1)}
