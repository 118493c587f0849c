"""Nonlinearity that is a small network."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

from nablafx_core.marks import Range
from nablafx_dsp.nn.siren import Siren
from nablafx_dsp.pretrained_weights import load_pretrained
from nablafx_dsp.processors.memoryless import Memoryless


class StaticMLP(Memoryless):
    """y = f(x), where f is a `Siren`, whose weights ``net.layers.{i}`` and ``net.last_layer`` are trained.

    It has no parameters that a controller drives. By default f starts as tanh, within 0.001 on [-4, 4]. It is arbitrary
    outside, so keep the input in that range.

    Args:
        sample_rate: sample rate in Hz.
        hidden_size: number of units of each sine layer.
        num_layers: number of sine layers; a linear layer follows.
        w0: frequency factor of the first layer: how fast f can change.
        pretrained: initial weights: ``tanh`` (only for 32 or 64 units, 3 layers and the default `w0`); the path of a
            safetensors file of ``nablafx pretrain`` or of a ``static_mlp_nonlinearity_*.pt`` of NablAFx 1.0; or
            ``none`` for random weights.

    Raises:
        ModelError: if the weights are not found or unreadable, or have another size or `w0`.
    """

    lr_multiplier = 0.01  # that of the presets of NablAFx 1.0

    shape = "nonlinearity"

    def __init__(
        self,
        sample_rate: int = 48000,
        hidden_size: Annotated[int, Range(1, 1024)] = 32,
        num_layers: Annotated[int, Range(1, 32)] = 3,
        w0: float = 30.0,
        pretrained: str = "tanh",
    ) -> None:
        super().__init__(sample_rate)
        self.net = Siren(hidden_size, num_layers, w0)
        if pretrained != "none":
            load_pretrained(self.net, pretrained, self.pretrained_settings())

    def pretrained_settings(self) -> dict[str, object]:
        """Return `w0`, the setting that determines f together with the weights."""
        return {"w0": float(self.net.w0)}

    def macs_per_sample(self) -> float:
        """Return one multiply-accumulate per weight of the network, without its biases."""
        return float(sum(weight.numel() for name, weight in self.named_parameters() if name.endswith("weight")))

    def effect(self, audio: Tensor) -> Tensor:  # type: ignore[override]
        """Return f of each sample."""
        out: Tensor = self.net(audio)
        return out
