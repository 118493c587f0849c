"""Fit a processor to a target, for ``nablafx pretrain``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from nablafx_core.errors import ConfigError
from nablafx_core.nn.rational import fit_rational
from nablafx_core.pictures.figure import COLOURS, picture
from nablafx_dsp.nn.siren import Siren
from nablafx_dsp.pretraining.targets import CURVES, RESPONSES, read_response, read_table
from nablafx_dsp.processors.static_fir import StaticFIR
from nablafx_dsp.processors.static_mlp import StaticMLP
from nablafx_dsp.processors.static_rational import StaticRational

#: Number of points of a fit over the range; the error is measured at ten times as many, to see between the points.
_POINTS = 401

#: w0 at the start of a fit. It is lower than the processors' w0, so that the fit is smooth between its points.
_CURVE_W0, _RESPONSE_W0 = 0.3, 100.0


#: Share of a response's energy beyond the taps above which a note is shown: 0.1 %.
_NOTED = 1e-3


@dataclass(frozen=True)
class Fit:
    """Target and result of a fit, at the points where they are compared; all tensors are float64.

    Args:
        places: inputs of a nonlinearity, or indices of the taps of a response from 0, (points,).
        target: target values, (points,).
        fitted: values of the fitted processor, (points,).
        note: message for the user, or empty.
    """

    places: Tensor
    target: Tensor
    fitted: Tensor
    note: str = ""

    @property
    def error(self) -> float:
        """Return the largest absolute difference between target and fitted values."""
        return float((self.fitted - self.target).abs().max())


def fit_nonlinearity(processor: StaticMLP | StaticRational, target: str, limit: float, steps: int) -> Fit:
    """Fit a nonlinearity to a named curve on [-limit, limit], or to a table between its first and last input.

    Args:
        processor: processor whose weights are changed in place.
        target: a key of `nablafx_dsp.pretraining.targets.CURVES`, or the path of a ``.csv`` file for `read_table`,
            between whose points the target is interpolated linearly.
        limit: largest input for a named curve; not used for a table.
        steps: maximum number of optimiser steps; not used for `StaticRational`.

    Returns:
        Target and fit at 4,010 inputs for a named curve, or at the inputs of the table.

    Raises:
        ConfigError: if the target is not a named curve and has no suffix ``.csv``.
        DataError: if the table cannot be read or is invalid.
    """
    if target in CURVES:
        curve = CURVES[target]
        x, measured = (torch.linspace(-limit, limit, n, dtype=torch.float64) for n in (_POINTS, 10 * _POINTS))
        y, expected = curve(x), curve(measured)
    elif _is_file(target, ".csv"):
        measured, expected = read_table(Path(target))
        x = torch.linspace(float(measured[0]), float(measured[-1]), _POINTS, dtype=torch.float64)
        y = _interpolated(measured, expected, x)
    else:
        raise ConfigError(
            f"unknown curve '{target}'; expected one of {', '.join(CURVES)}, or a .csv file with rows input,output."
        )
    if isinstance(processor, StaticMLP):
        fit(slowed(processor.net, _CURVE_W0), x, y, steps=steps)
    else:
        net = processor.net
        p, q = fit_rational(x, y, torch.ones_like(x), len(net.numerator) - 1, len(net.denominator))
        with torch.no_grad():
            net.numerator.copy_(p)
            net.denominator.copy_(q)
    with torch.no_grad():
        return Fit(measured, expected, processor.net(measured.float()).double())


def fit_response(processor: StaticFIR, target: str, steps: int) -> Fit:
    """Fit a filter to a named impulse response, or to the beginning of the one in a WAV file.

    Args:
        processor: filter whose weights are changed in place; the target has its number of taps and sample rate.
        target: a key of `nablafx_dsp.pretraining.targets.RESPONSES`, or the path of a mono ``.wav`` file.
        steps: maximum number of optimiser steps.

    Returns:
        Target and fit at each tap, with a note if more than 0.1 % of the file's energy lies beyond the taps.

    Raises:
        ConfigError: if the target is not a named response and has no suffix ``.wav``.
        DataError: if the file cannot be used; see `nablafx_dsp.pretraining.targets.read_response`.
    """
    num_taps, note = processor.coords.shape[-1], ""
    if target in RESPONSES:
        taps = RESPONSES[target](num_taps, processor.sample_rate)
    elif _is_file(target, ".wav"):
        taps, lost = read_response(Path(target), num_taps, processor.sample_rate)
        if lost > _NOTED:
            note = f"{lost:.1%} of the response's energy lies beyond {num_taps} taps and is cut off. Raise num_taps."
    else:
        raise ConfigError(f"unknown response '{target}'; expected one of {', '.join(RESPONSES)}, or a .wav file.")
    fit(slowed(processor.net, _RESPONSE_W0), processor.coords[0, 0], taps, steps=steps)
    with torch.no_grad():
        return Fit(torch.arange(num_taps).double(), taps, processor.taps().double(), note)


def fit(net: Siren, values: Tensor, targets: Tensor, *, steps: int = 1000) -> float:
    """Minimise the mean squared error of a network's output at given inputs, by L-BFGS in float64.

    Args:
        net: network whose weights are changed in place; afterwards it has its own dtype again.
        values, targets: inputs and target outputs, (points,).
        steps: maximum number of optimiser steps.

    Returns:
        The largest absolute error at the inputs, with the network evaluated in its own dtype.
    """
    dtype = next(net.parameters()).dtype
    values, targets = values.double(), targets.double()
    net.double()
    optimizer = torch.optim.LBFGS(
        net.parameters(), max_iter=steps, history_size=50, tolerance_grad=0, tolerance_change=0,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def loss() -> Tensor:
        optimizer.zero_grad()
        error: Tensor = (net(values) - targets).square().mean()
        error.backward()  # type: ignore[no-untyped-call]
        return error

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    optimizer.zero_grad()
    net.to(dtype)
    with torch.no_grad():
        return float((net(values.to(dtype)) - targets).abs().max())


def slowed(net: Siren, w0: float) -> Siren:
    """Scale the first layer's weight as if the network's w0 were `w0`, so that a fit is smooth between its points.

    The network is changed in place and returned. If its w0 is not higher, nothing changes.
    """
    with torch.no_grad():
        net.layers[0].get_parameter("weight").mul_(min(1.0, w0 / net.w0))
    return net


def draw(result: Fit, title: str, path: Path, response: bool) -> None:
    """Draw a target, its fit and their difference as a PNG file.

    Args:
        result: target and fit.
        title: title of the picture.
        path: path of the file; its folder must exist.
        response: true if they are the taps of a response, which are labelled as such.
    """
    with picture(path, height_inches=6.0) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        upper.set_title(title)
        upper.plot(result.places, result.target, color=COLOURS[0], linewidth=3, label="target")
        upper.plot(result.places, result.fitted, color=COLOURS[1], linewidth=1.2, label="fit")
        upper.set_ylabel("tap" if response else "output")
        upper.legend()
        lower.plot(result.places, result.fitted - result.target, color=COLOURS[1], linewidth=1.2)
        lower.set_ylabel("error")
        lower.set_xlabel("sample" if response else "input")


def _is_file(target: str, suffix: str) -> bool:
    return Path(target).suffix.lower() == suffix


def _interpolated(places: Tensor, values: Tensor, wanted: Tensor) -> Tensor:
    """Interpolate the `values` at `places`, which increase, linearly at `wanted`, which lie between the places."""
    right = torch.searchsorted(places, wanted).clamp(1, len(places) - 1)
    left = right - 1
    return values[left] + (values[right] - values[left]) * (wanted - places[left]) / (places[right] - places[left])
