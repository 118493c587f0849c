"""Curves of nonlinearities, their antiderivatives, and antiderivative antialiasing.

All functions are elementwise and differentiable; parameters broadcast against the input. ``X_integral`` is the
antiderivative of the curve ``X`` that is 0 at an input of 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from nablafx_dsp.functional.precision import wide_dtype
from nablafx_dsp.functional.wright_omega import wright_omega

#: Function of the input, with its parameters by name.
Curve = Callable[..., Tensor]

#: Distance of two inputs below which their mean is computed from the curve itself; below it, the rounding of the
#: antiderivatives exceeds the error of the two-point rule.
NEAR = {torch.float64: 1e-4, torch.float32: 3e-2}


def tanh_integral(x: Tensor) -> Tensor:
    """Return the integral of tanh from 0 to x, which is log cosh x, computed without overflow."""
    size = x.abs()
    return size + torch.log1p(torch.exp(-2 * size)) - math.log(2)


def hard_clip(x: Tensor, threshold: Tensor) -> Tensor:
    """Clip x to [-threshold, threshold]; the threshold is at least 0."""
    return torch.minimum(torch.maximum(x, -threshold), threshold)


def hard_clip_integral(x: Tensor, threshold: Tensor) -> Tensor:
    """Return the integral of `hard_clip` from 0 to x."""
    size = x.abs()
    inside = torch.minimum(size, threshold)
    return inside.square() / 2 + threshold * (size - inside)


def soft_clip(x: Tensor, threshold: Tensor, knee: Tensor) -> Tensor:
    """Clip x with a rounded corner: y = T s(x / T), odd, with a continuous slope.

    For v >= 0, s(v) = v up to 1 - k, v - (v - 1 + k)^2 / (4 k) up to 1 + k, 1 beyond.

    Args:
        x: input.
        threshold: T, limit of the output, above 0.
        knee: k, half the width of the corner relative to the threshold, above 0 and at most 1.
    """
    v = x / threshold
    over = (torch.minimum(v.abs(), 1 + knee) - 1 + knee).clamp(min=0)
    return threshold * (hard_clip(v, 1 + knee) - v.sign() * over.square() / (4 * knee))


def soft_clip_integral(x: Tensor, threshold: Tensor, knee: Tensor) -> Tensor:
    """Return the integral of `soft_clip` from 0 to x."""
    size = (x / threshold).abs()
    inside = torch.minimum(size, 1 + knee)
    over = (inside - 1 + knee).clamp(min=0)
    return threshold.square() * (inside.square() / 2 - over**3 / (12 * knee) + size - inside)


def asymmetric_tanh(x: Tensor, bias: Tensor) -> Tensor:
    """Return tanh(x + b) - tanh(b): 0 at 0, saturating at 1 - tanh(b) and -1 - tanh(b)."""
    return torch.tanh(x + bias) - torch.tanh(bias)


def asymmetric_tanh_integral(x: Tensor, bias: Tensor) -> Tensor:
    """Return the integral of `asymmetric_tanh` from 0 to x."""
    return tanh_integral(x + bias) - tanh_integral(bias) - x * torch.tanh(bias)


def sine_fold(x: Tensor, offset: Tensor) -> Tensor:
    """Return sin(pi (x + c) / 2) - sin(pi c / 2), which folds the wave back at each crest; the first is at 1 - c."""
    return torch.sin(math.pi / 2 * (x + offset)) - torch.sin(math.pi / 2 * offset)


def sine_fold_integral(x: Tensor, offset: Tensor) -> Tensor:
    """Return the integral of `sine_fold` from 0 to x."""
    start = math.pi / 2 * offset
    return (torch.cos(start) - torch.cos(math.pi / 2 * x + start)) * (2 / math.pi) - x * torch.sin(start)


def diode_clip(x: Tensor, thermal_voltage_volt: Tensor, saturation_volt: Tensor) -> Tensor:
    """Return the voltage over two antiparallel diodes that a source x drives through a resistor R.

    The conducting diode obeys Shockley's equation and the other one is neglected. For x > 0

        (x - y) / R = Is (exp(y / V) - 1)

    whose solution is y = V log(w(z) / a), a = R Is / V, z = log a + x / V + a, with w the Wright omega function. The
    curve is odd, with a continuous slope. Werner, Nangia, Bernardini, Smith and Sarti, "An improved and generalized
    diode clipper model for wave digital filters", AES 139, 2015, solve it by Lambert's W = w(log(.)), as
    x + R Is - V W; the logarithm is equal and avoids a difference of large numbers.

    Args:
        x: source voltage in volts.
        thermal_voltage_volt: V, the ideality factor times the thermal voltage, in volts, above 0.
        saturation_volt: R Is, the voltage that the saturation current drops over the resistor, in volts, above 0.
    """
    side, omega, a = _conducting(x, thermal_voltage_volt, saturation_volt)
    return side * thermal_voltage_volt * torch.log(omega / a)


def diode_clip_integral(x: Tensor, thermal_voltage_volt: Tensor, saturation_volt: Tensor) -> Tensor:
    """Return the integral of `diode_clip` from 0 to x: V^2 (w (d - 1) + d^2 / 2 + a), d = log(w / a), w for |x|."""
    _, omega, a = _conducting(x, thermal_voltage_volt, saturation_volt)
    d = torch.log(omega / a)
    return thermal_voltage_volt.square() * (omega * (d - 1) + d.square() / 2 + a)


def _conducting(x: Tensor, thermal_voltage_volt: Tensor, saturation_volt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the sign of x (1 at 0), and w and a of `diode_clip` for |x|."""
    # Not x.sign(): it is 0 at 0, which would stop the gradient of silence.
    side = torch.where(x < 0, -1.0, 1.0).to(x.dtype)
    a = saturation_volt / thermal_voltage_volt
    return side, wright_omega(a.log() + side * x / thermal_voltage_volt + a), a


def segment_mean(curve: Curve, integral: Curve, start: Tensor, end: Tensor, **parameters: Tensor) -> Tensor:
    """Return the mean of a curve between two inputs, (F(end) - F(start)) / (end - start).

    For successive samples this is first-order antiderivative antialiasing: Parker, Zavalishin and Le Bivic, "Reducing
    the aliasing of nonlinear waveshaping using continuous-time convolution", DAFx 2016. Computed in float64 (float32
    on MPS, which has no float64). If the inputs are closer than `NEAR`, the quotient would be dominated by rounding,
    and the mean is computed by Gauss's two-point rule, whose error is of the fourth order in their distance.

    Args:
        curve: f.
        integral: F, an antiderivative of f.
        start, end: inputs, of the same shape.
        parameters: parameters of the curve and of its antiderivative.

    Returns:
        The means, in the dtype of `end`.
    """
    wide = wide_dtype(end.device)
    given = {name: value.to(wide) for name, value in parameters.items()}
    a, b = start.to(wide), end.to(wide)
    step = b - a
    near = step.abs() < NEAR[wide]
    quotient = (integral(b, **given) - integral(a, **given)) / torch.where(near, torch.ones_like(step), step)
    middle, apart = (a + b) / 2, step / math.sqrt(12)
    gauss = (curve(middle - apart, **given) + curve(middle + apart, **given)) / 2
    return torch.where(near, gauss, quotient).to(end.dtype)
