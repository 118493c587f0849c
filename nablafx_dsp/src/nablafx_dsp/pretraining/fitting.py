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


#: Share of a response's energy beyond the taps from which a note is shown; less is 0.0 % in the note.
_NOTED = 1e-3


@dataclass(frozen=True)
class Fit:
    """Target and result of a fit.

    Args:
        places: inputs of a nonlinearity, or numbers of the taps of a response, (points,).
        target: target values, (points,).
        fitted: values of the processor, (points,).
        note: message for the user, or empty.
    """

    places: Tensor
    target: Tensor
    fitted: Tensor
    note: str = ""

    @property
    def error(self) -> float:
        """Return the largest difference."""
        return float((self.fitted - self.target).abs().max())


def fit_nonlinearity(processor: StaticMLP | StaticRational, target: str, limit: float, steps: int) -> Fit:
    """Fit a nonlinearity to a named curve on [-limit, limit], or to a table on its range.

    Raises:
        ConfigError: if there is no curve with that name.
        DataError: if the table is invalid.
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
        raise ConfigError(f"there is no curve '{target}'. Curves: {', '.join(CURVES)}, or a .csv file of input,output.")
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
    """Fit a filter to a named impulse response or to that of a WAV file.

    Raises:
        ConfigError: if there is no response with that name.
        DataError: if the file is invalid.
    """
    num_taps, note = processor.coords.shape[-1], ""
    if target in RESPONSES:
        taps = RESPONSES[target](num_taps, processor.sample_rate)
    elif _is_file(target, ".wav"):
        taps, lost = read_response(Path(target), num_taps, processor.sample_rate)
        note = (
            f"{lost:.1%} of the response's energy lies beyond {num_taps} taps and is cut off." if lost > _NOTED else ""
        )
    else:
        raise ConfigError(f"there is no response '{target}'. Responses: {', '.join(RESPONSES)}, or a .wav file.")
    fit(slowed(processor.net, _RESPONSE_W0), processor.coords[0, 0], taps, steps=steps)
    with torch.no_grad():
        return Fit(torch.arange(num_taps).double(), taps, processor.taps().double(), note)


def fit(net: Siren, values: Tensor, targets: Tensor, *, steps: int = 1000) -> float:
    """Fit a network's output at `values` to the targets in the mean square, by L-BFGS in float64.

    Args:
        net: network, changed in place.
        values, targets: inputs and outputs, (points,).
        steps: maximum number of steps.

    Returns:
        The largest error at any of the values, in the network's own dtype.
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
    """Scale the first layer of a network as if its w0 were lower, so that a fit is smooth between its points."""
    with torch.no_grad():
        net.layers[0].get_parameter("weight").mul_(min(1.0, w0 / net.w0))
    return net


def draw(result: Fit, title: str, path: Path, response: bool) -> None:
    """Draw a target, its fit and their difference as a PNG file."""
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
    """Interpolate linearly at `wanted`; `places` are increasing and contain its range."""
    right = torch.searchsorted(places, wanted).clamp(1, len(places) - 1)
    left = right - 1
    return values[left] + (values[right] - values[left]) * (wanted - places[left]) / (places[right] - places[left])
