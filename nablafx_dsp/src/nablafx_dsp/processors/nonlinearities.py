"""Nonlinearities given by a formula, optionally antialiased."""

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
    """Definition of a nonlinearity.

    Args:
        title: name in pictures and messages.
        parameters: parameters of the processor. ``drive_db``, if present, is a gain before the curve; the others are
            parameters of the curve.
        curve: function of the amplified input and of the curve's parameters, by name.
        integral: antiderivative of the curve, with the same arguments.
    """

    title: str
    parameters: tuple[Parameter, ...]
    curve: Curve
    integral: Curve


class Nonlinearity(Memoryless):
    """y = f(10^(drive_db / 20) x), where f is a curve with its own parameters, which each subclass defines.

    Without a parameter ``drive_db``, as in `Tanh`, the gain before the curve is 1.

    With `antialiasing` adaa1, the output is the mean of f over the line from the sample before to the current one
    (`nablafx_dsp.functional.waveshaping.segment_mean`), with the current parameters. For a signal that is not distorted
    this is the mean of two samples: a delay of half a sample, -3 dB at a quarter of the sample rate and a zero at half
    of it. The latency does not include the half sample, because it is an integer; inside `oversampled` the delay is
    half a sample of the higher rate. State: ``before``, the sample before, (batch, 1, 1); empty without antialiasing.

    Args:
        sample_rate: sample rate in Hz.
        antialiasing: ``none``, or ``adaa1`` for first-order antiderivative antialiasing.
        ranges: lowest and highest value by parameter, instead of the default range: ``{drive_db: [0, 30]}``.

    Raises:
        ModelError: if `ranges` names an unknown parameter, or a range is reversed, infinite or begins too low.
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
        """Return f of each amplified sample, without antialiasing; see `Memoryless.effect`."""
        gain, own = _split_drive(parameters)
        return self.formula.curve(audio if gain is None else gain * audio, **own)

    def initial_state(self, batch_size: int, parameters: dict[str, Tensor] | None = None) -> State:
        """Return the state for silence before the first sample; empty without antialiasing."""
        return {} if self.antialiasing == "none" else {"before": torch.zeros(batch_size, 1, 1)}

    def forward(self, audio: Tensor, parameters: dict[str, Tensor], state: State | None = None) -> tuple[Tensor, State]:
        """Distort audio (batch, 1, time), with the antialiasing that the constructor was given.

        Args:
            audio: x, (batch, 1, time).
            parameters: parameters by name, each (batch,) or (batch, time).
            state: state after the previous audio; None for silence before. It is ignored without antialiasing.

        Returns:
            y, (batch, 1, time), and the state after it; empty without antialiasing.
        """
        if self.antialiasing == "none":
            return super().forward(audio, parameters)
        before = audio.new_zeros(audio.shape[0], 1, 1) if state is None else state["before"].to(audio)
        signal = torch.cat([before, audio], dim=-1)
        gain, own = _split_drive({name: value.reshape(audio.shape[0], 1, -1) for name, value in parameters.items()})
        start, end = (part if gain is None else gain * part for part in (signal[..., :-1], audio))
        output = segment_mean(self.formula.curve, self.formula.integral, start, end, **own)
        return output, {"before": signal[..., -1:]}


def _split_drive(parameters: dict[str, Tensor]) -> tuple[Tensor | None, dict[str, Tensor]]:
    """Split parameters into the gain before the curve (None for 1) and the curve's own parameters."""
    own = dict(parameters)
    drive_db = own.pop("drive_db", None)
    return None if drive_db is None else 10 ** (drive_db / 20), own


class Tanh(Nonlinearity):
    """y = tanh(x). It has no parameters."""

    formula = Formula("tanh", (), torch.tanh, shapes.tanh_integral)


class HardClip(Nonlinearity):
    """Amplify the input by ``drive_db`` and clip it at +-threshold, relative to full scale.

    Where the signal is clipped, the threshold has a gradient; the audio and ``drive_db`` have none.
    """

    formula = Formula("hard clipper", (_DRIVE, _THRESHOLD), shapes.hard_clip, shapes.hard_clip_integral)


class SoftClip(Nonlinearity):
    """Clipper with a rounded corner, see `soft_clip` of `nablafx_dsp.functional.waveshaping`.

    It is linear for amplified inputs up to (1 - knee) threshold. From there a parabola leads to the limit, +-threshold,
    which is reached at an amplified input of (1 + knee) threshold.
    """

    formula = Formula(
        "soft clipper",
        (_DRIVE, _THRESHOLD, Parameter("knee", 0.05, 1.0)),
        shapes.soft_clip,
        shapes.soft_clip_integral,
    )


class AsymmetricTanh(Nonlinearity):
    """y = tanh(u + bias) - tanh(bias) of the amplified input u, with even harmonics and y = 0 at u = 0."""

    formula = Formula(
        "asymmetric tanh",
        (_DRIVE, Parameter("bias", -1.5, 1.5)),
        shapes.asymmetric_tanh,
        shapes.asymmetric_tanh_integral,
    )


class WaveFolder(Nonlinearity):
    """y = sin(pi (u + offset) / 2) - sin(pi offset / 2) of the amplified input u, which folds crests back."""

    formula = Formula(
        "wave folder",
        (_DRIVE, Parameter("offset", -1.0, 1.0)),
        shapes.sine_fold,
        shapes.sine_fold_integral,
    )


class Diode(Nonlinearity):
    """Two antiparallel diodes after a resistor, see `diode_clip` of `nablafx_dsp.functional.waveshaping`.

    Full scale is 1 V. ``thermal_voltage_volt`` is the ideality factor times the thermal voltage, ``saturation_volt``
    is the resistance times the saturation current. A 1N914 after 2.2 kohm has 0.045 V and 5.5e-6 V.
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
