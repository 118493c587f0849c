"""Recurrent networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from nablafx_core.controls import Control
from nablafx_core.errors import ModelError
from nablafx_core.interfaces import Model
from nablafx_core.state import State
from nablafx_models.conditioning.table import conditioning_named, first_sample, with_condition


class LSTM(Model):
    """Long short-term memory (Wright et al., 2019, "Real-time black-box modelling with recurrent neural networks").

    h[n], c[n] = LSTM(x[n], h[n-1], c[n-1]),  y[n] = tanh(lin(h[n]) [+ x[n]] [+ tanh(direct_gain x[n])])

    Before a file begins, h = c = 0 and `pre_roll` samples of silence run through the network, as through a pedal that
    is switched on and not yet played: from h = c = 0 alone a trained network starts with a click.

    Args:
        hidden_size: of the recurrent state.
        num_layers: recurrent layers.
        residual: add the audio to what the network computes.
        direct_path: add the audio through a gain and a tanh.
        conditioning: how controls enter: ``concatenated`` appends them to the audio.
        pre_roll: samples of silence before a file; 0 for models that were made with NablAFx 0.1.
        sample_rate: Hz.
        controls: the knobs.

    Raises:
        ModelError: if conditioning and controls exclude each other.
    """

    default_tbptt: ClassVar[int | None] = 2048

    def __init__(
        self,
        *,
        hidden_size: int = 32,
        num_layers: int = 1,
        residual: bool = True,
        direct_path: bool = False,
        conditioning: Literal["none", "concatenated"] = "none",
        pre_roll: int = 4800,
        sample_rate: int = 48000,
        controls: Sequence[Control] = (),
    ) -> None:
        super().__init__(sample_rate, controls)
        if hidden_size < 1 or num_layers < 1 or pre_roll < 0:
            raise ModelError(
                f"LSTM: hidden_size {hidden_size} and num_layers {num_layers} must be at least 1, pre_roll {pre_roll} "
                "at least 0."
            )
        knobs = len(self.controls)
        chosen = conditioning_named(conditioning, knobs, "LSTM", ("none", "concatenated"))
        channels = self.in_channels + chosen.extra_channels(knobs)
        self.lstm = nn.LSTM(channels, hidden_size, num_layers, batch_first=True)
        self.lin = nn.Linear(hidden_size, self.out_channels)
        self.direct_gain = nn.Conv1d(1, 1, 1, bias=False) if direct_path else None
        self.residual = residual
        self.pre_roll = pre_roll

    def initial_state(self, batch_size: int, controls: Tensor | None = None) -> State:
        """After the pre-roll: ``hidden`` and ``cell``, each (batch, num_layers, hidden_size)."""
        knobs = self._controls_for(batch_size, controls, None)
        alike = 1 if knobs is None else batch_size  # without knobs every item hears the same silence
        zeros = self.lin.weight.new_zeros(alike, self.lstm.num_layers, self.lstm.hidden_size)
        state = {"hidden": zeros, "cell": zeros.clone()}
        if self.pre_roll:
            silence = self.lin.weight.new_zeros(alike, 1, self.pre_roll)
            _, state = self._run(silence, knobs, state)
        return {key: value.expand(batch_size, -1, -1).contiguous() for key, value in state.items()}

    def forward(
        self, audio: Tensor, controls: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Process audio (batch, 1, time) to (batch, 1, time), offline or stream; see `Model`."""
        controls = self.checked_controls(audio, controls)
        if state is None:
            state = self.initial_state(audio.shape[0], first_sample(controls))
        features, after = self._run(audio, controls, state)
        y = self.lin(features).mT
        if self.residual:
            y = y + audio
        if self.direct_gain is not None:
            y = y + torch.tanh(self.direct_gain(audio))
        return torch.tanh(y), after

    def _run(self, audio: Tensor, controls: Tensor | None, state: State) -> tuple[Tensor, State]:
        """The recurrent layers: features (batch, time, hidden_size), and the state after them."""
        before = tuple(state[key].transpose(0, 1).contiguous() for key in ("hidden", "cell"))
        features, (hidden, cell) = self.lstm(with_condition(audio, controls).mT, before)
        return features, {"hidden": hidden.transpose(0, 1), "cell": cell.transpose(0, 1)}
