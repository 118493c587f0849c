"""Nonlinearity that is a rational function."""

from __future__ import annotations

from torch import Tensor

from nablafx_core.nn.rational import Degrees, FunctionName, Rational
from nablafx_dsp.pretrained_weights import load_pretrained
from nablafx_dsp.processors.memoryless import Memoryless


class StaticRational(Memoryless):
    """y = P(x) / Q(x), see `nablafx_core.nn.rational.Rational`; ``net.numerator`` and ``net.denominator`` are trained.

    It has no parameters that a controller drives.

    Args:
        sample_rate: sample rate in Hz.
        degrees: degrees of P and Q.
        function: function that P / Q approximates on [-3, 3] before training.
        pretrained: path of a safetensors file of ``nablafx pretrain`` whose coefficients replace those of `function`;
            or ``none``.

    Raises:
        ModelError: if a degree is below 0, the function is unknown, or the file is not found, unreadable or of other
            degrees.
    """

    shape = "nonlinearity"

    def __init__(
        self,
        sample_rate: int = 48000,
        degrees: Degrees = (6, 5),
        function: FunctionName = "tanh",
        pretrained: str = "none",
    ) -> None:
        super().__init__(sample_rate)
        self.net = Rational(degrees, function)
        if pretrained != "none":
            load_pretrained(self.net, pretrained, self.pretrained_settings())

    def pretrained_settings(self) -> dict[str, object]:
        """Return no settings: the coefficients alone determine P / Q."""
        return {}

    def effect(self, audio: Tensor) -> Tensor:  # type: ignore[override]
        """Return P / Q of each sample."""
        out: Tensor = self.net(audio)
        return out
