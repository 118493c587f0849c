"""Finite impulse response that is the output of a small network."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from nablafx_core.interfaces import Processor
from nablafx_core.marks import Range
from nablafx_core.state import State
from nablafx_dsp.functional.fir import fir
from nablafx_dsp.nn.siren import Siren
from nablafx_dsp.pretrained_weights import load_pretrained


class StaticFIR(Processor):
    """y[t] = sum over k of h[k] x[t - k], with h[k] = f(-1 + 2 k / (num_taps - 1)) and f a `Siren`.

    It has no parameters that a controller drives, and no latency. The weights of f are trained: ``net.layers.{i}`` and
    ``net.last_layer``. The inputs at which f is evaluated are the buffer ``coords``, (1, 1, num_taps). By default the
    response starts as an impulse, which passes the audio unchanged. State: ``past``, the last num_taps - 1 samples,
    (batch, num_taps - 1).

    Args:
        sample_rate: sample rate in Hz.
        num_taps: length of the response in samples.
        hidden_size: number of units of each sine layer.
        num_layers: number of sine layers; a linear layer follows.
        w0: frequency factor of the first layer: how much neighbouring taps can differ.
        pretrained: initial weights: ``impulse`` or ``cabinet``, a loudspeaker's response at 48 kHz, both only for the
            default sizes and `w0`; the path of a safetensors file of ``nablafx pretrain``, or of a
            ``static_fir_filter_*.pt`` of NablAFx 1.0, which were made with the default `w0`; or ``none`` for random
            weights.

    Raises:
        ModelError: if the weights are not found or unreadable, or have another size, `w0` or number of taps.
    """

    lr_multiplier = 0.01  # that of the presets of NablAFx 1.0
    coords: Tensor

    shape = "filter"

    def __init__(
        self,
        sample_rate: int = 48000,
        num_taps: Annotated[int, Range(1, 262_144)] = 64,
        hidden_size: Annotated[int, Range(1, 1024)] = 32,
        num_layers: Annotated[int, Range(1, 32)] = 5,
        w0: float = 1000.0,
        pretrained: str = "impulse",
    ) -> None:
        super().__init__(sample_rate)
        self.net = Siren(hidden_size, num_layers, w0)
        self.register_buffer("coords", torch.linspace(-1, 1, num_taps).reshape(1, 1, -1))
        if pretrained != "none":
            load_pretrained(self.net, pretrained, self.pretrained_settings())

    def pretrained_settings(self) -> dict[str, object]:
        """Return `w0` and ``num_taps``, the settings that determine h together with the weights."""
        return {"w0": float(self.net.w0), "num_taps": self.coords.shape[-1]}

    def macs_per_sample(self) -> float:
        """Return one multiply-accumulate per tap; the network, which runs once per `forward`, is not counted."""
        return float(self.coords.shape[-1])

    def taps(self) -> Tensor:
        """Evaluate the network: return the impulse response h, (num_taps,)."""
        response: Tensor = self.net(self.coords[0, 0])
        return response

    def initial_state(self, batch_size: int, parameters: dict[str, Tensor] | None = None) -> State:
        """Return the state for silence before the first sample."""
        return {"past": self.coords.new_zeros(batch_size, self.coords.shape[-1] - 1)}

    def forward(self, audio: Tensor, parameters: dict[str, Tensor], state: State | None = None) -> tuple[Tensor, State]:
        """Filter audio (batch, 1, time).

        Args:
            audio: x, (batch, 1, time).
            parameters: not used.
            state: state after the previous audio; None for silence before.

        Returns:
            y, (batch, 1, time), and the state after it.
        """
        output, past = fir(audio[:, 0], self.taps()[None], None if state is None else state["past"])
        return output[:, None], {"past": past}
