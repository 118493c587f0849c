"""Nonlinearities that are formulas, as they are or antialiased."""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from nablafx_core.controls import Parameter
from nablafx_core.state import State
from nablafx_dsp.functional import waveshaping as shapes
from nablafx_dsp.functional.waveshaping import Curve, segment_mean
from nablafx_dsp.processors.memoryless import Memoryless
from nablafx_dsp.processors.ranges import with_ranges

Antialiasing = Literal["none", "adaa1"]

_DRIVE = Parameter("drive_db", -12.0, 48.0, "dB")
_THRESHOLD = Parameter("threshold", 0.05, 1.0, "", "log")


class Formula(NamedTuple):
    """What one nonlinearity is.

    Args:
        title: what people call it.
        parameters: of the curve; with ``drive_db``, the curve is that of the amplified input.
        curve: of the input and the other parameters.
        integral: an antiderivative of the curve.
    """

    title: str
    parameters: tuple[Parameter, ...]
    curve: Curve
    integral: Curve


class Nonlinearity(Memoryless):
    """y = f(10^(drive_db / 20) x), f a curve with parameters of its own, which each subclass tells.

    With `antialiasing` adaa1 the output is the mean of f over the line from the sample before to the present one
    (`nablafx_dsp.functional.waveshaping.segment_mean`), under the present parameters. Of what is not distorted this is
    the mean of two samples: half a sample late, 3 dB less at a quarter of the sample rate and nothing at half of it.
    The half sample is not in the latency, which is whole; inside `oversampled` it is as much of a sample less. State:
    ``before``, the sample before.

    Args:
        sample_rate: Hz.
        antialiasing: none, or adaa1: first-order antiderivative antialiasing.
        ranges: of parameters, ``{drive_db: [0, 30]}``, where they are to be others than it has by itself.

    Raises:
        ModelError: if a range is none, or of a parameter that there is not.
    """

    formula: ClassVar[Formula]

    def __init__(
        self,
        sample_rate: int = 48000,
        antialiasing: Antialiasing = "none",
        ranges: dict[str, tuple[float, float]] | None = None,
    ) -> None:
        super().__init__(sample_rate)
        self.antialiasing = antialiasing
        self.title = self.formula.title
        self.shape = "nonlinearity" if antialiasing == "none" else "other"
        self.effect_parameters = with_ranges(self.title, self.formula.parameters, ranges or {})

    def effect(self, audio: Tensor, **parameters: Tensor) -> Tensor:
        """The curve of each sample."""
        gain, own = _apart(parameters)
        return self.formula.curve(audio if gain is None else gain * audio, **own)

    def initial_state(self, batch_size: int, parameters: dict[str, Tensor] | None = None) -> State:
        """Silence before the first sample."""
        return {} if self.antialiasing == "none" else {"before": torch.zeros(batch_size, 1, 1)}

    def forward(self, audio: Tensor, parameters: dict[str, Tensor], state: State | None = None) -> tuple[Tensor, State]:
        """Process audio (batch, 1, time)."""
        if self.antialiasing == "none":
            return super().forward(audio, parameters)
        before = audio.new_zeros(audio.shape[0], 1, 1) if state is None else state["before"].to(audio)
        signal = torch.cat([before, audio], dim=-1)
        gain, own = _apart({name: value.reshape(audio.shape[0], 1, -1) for name, value in parameters.items()})
        start, end = (part if gain is None else gain * part for part in (signal[..., :-1], audio))
        output = segment_mean(self.formula.curve, self.formula.integral, start, end, **own)
        return output, {"before": signal[..., -1:]}


def _apart(parameters: dict[str, Tensor]) -> tuple[Tensor | None, dict[str, Tensor]]:
    """The gain before the curve, None for 1, and the curve's own parameters."""
    own = dict(parameters)
    drive_db = own.pop("drive_db", None)
    return None if drive_db is None else 10 ** (drive_db / 20), own


class Tanh(Nonlinearity):
    """y = tanh(x), without parameters."""

    formula = Formula("tanh", (), torch.tanh, shapes.tanh_integral)


class HardClip(Nonlinearity):
    """The amplified input, cut off at +-threshold. Beyond, only the threshold has a gradient."""

    formula = Formula("hard clipper", (_DRIVE, _THRESHOLD), shapes.hard_clip, shapes.hard_clip_integral)


class SoftClip(Nonlinearity):
    """A clipper with a rounded corner, see `soft_clip` of `nablafx_dsp.functional.waveshaping`.

    Linear up to (1 - knee) threshold, which is a sine's smallest peak that is distorted; a parabola up to the limit,
    +-threshold, which is reached at an amplified input of (1 + knee) threshold.
    """

    formula = Formula(
        "soft clipper",
        (_DRIVE, _THRESHOLD, Parameter("knee", 0.05, 1.0)),
        shapes.soft_clip,
        shapes.soft_clip_integral,
    )


class AsymmetricTanh(Nonlinearity):
    """y = tanh(u + bias) - tanh(bias) of the amplified input u: even harmonics, and no output for silence."""

    formula = Formula(
        "asymmetric tanh",
        (_DRIVE, Parameter("bias", -1.5, 1.5)),
        shapes.asymmetric_tanh,
        shapes.asymmetric_tanh_integral,
    )


class WaveFolder(Nonlinearity):
    """y = sin(pi (u + offset) / 2) - sin(pi offset / 2) of the amplified input u: crests are folded back."""

    formula = Formula(
        "wave folder",
        (_DRIVE, Parameter("offset", -1.0, 1.0)),
        shapes.sine_fold,
        shapes.sine_fold_integral,
    )


class Diode(Nonlinearity):
    """Two antiparallel diodes behind a resistor, see `diode_clip` of `nablafx_dsp.functional.waveshaping`.

    Full scale is 1 V. ``thermal_voltage_volt`` is the ideality factor times the thermal voltage, ``saturation_volt``
    the resistance times the saturation current; a 1N914 behind 2.2 kohm has 0.045 V and 5.5e-6 V.
    """

    formula = Formula(
        "diode clipper",
        (
            _DRIVE,
            Parameter("thermal_voltage_volt", 0.02, 0.1, "V", "log"),
            Parameter("saturation_volt", 1e-9, 1e-2, "V", "log"),
        ),
        shapes.diode_clip,
        shapes.diode_clip_integral,
    )
