"""A nonlinearity that is a small network."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

from nablafx_core.marks import Range
from nablafx_dsp.nn.siren import Siren
from nablafx_dsp.pretraining.weights import load_pretrained
from nablafx_dsp.processors.memoryless import Memoryless


class StaticMLP(Memoryless):
    """y = f(x), f a `Siren` of the sample's value. Its weights are ``net.layers.{i}`` and ``net.last_layer``.

    Pretrained it begins as tanh, within 0.001 on [-4, 4]; what it is beyond nobody knows, so keep the level before it
    in that range.

    Args:
        sample_rate: Hz.
        hidden_size: units of each layer.
        num_layers: sine layers; a linear one follows.
        w0: of the first layer: how fast f can change.
        pretrained: what it begins as: ``tanh`` (32 or 64 units, 3 layers); the path of a safetensors file of
            ``nablafx pretrain`` or of a ``static_mlp_nonlinearity_*.pt`` of NablAFx 1.0; or ``none`` for random
            weights.

    Raises:
        ModelError: if there are no such weights, or they are those of another size or `w0`.
    """

    lr_multiplier = 0.01

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
        """What makes f beside the weights."""
        return {"w0": float(self.net.w0)}

    def macs_per_sample(self) -> float:
        """One for each weight that is not a bias."""
        return float(sum(weight.numel() for name, weight in self.named_parameters() if name.endswith("weight")))

    def effect(self, audio: Tensor) -> Tensor:  # type: ignore[override]
        """f of each sample."""
        out: Tensor = self.net(audio)
        return out
