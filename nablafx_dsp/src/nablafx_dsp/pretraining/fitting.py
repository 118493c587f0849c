"""Fits a processor to a target, for ``nablafx pretrain``."""

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

#: Points of a fit, over the range; a fit is measured at ten times as many.
_POINTS = 401

#: Of the networks as a fit begins: slower than the processors' own, so that a fit is smooth between its points.
_CURVE_W0, _RESPONSE_W0 = 0.3, 100.0


@dataclass(frozen=True)
class Fit:
    """A processor's function beside its target.

    Args:
        places: inputs of a nonlinearity, or taps of a response, (points,).
        target: there.
        fitted: what the processor gives there.
        note: what a user should know, or nothing.
    """

    places: Tensor
    target: Tensor
    fitted: Tensor
    note: str = ""

    @property
    def error(self) -> float:
        """The largest difference."""
        return float((self.fitted - self.target).abs().max())


def fit_nonlinearity(processor: StaticMLP | StaticRational, target: str, limit: float, steps: int) -> Fit:
    """Fit a nonlinearity to a curve by name, on [-limit, limit], or to a table, on its range.

    Raises:
        ConfigError: if no curve has that name.
        DataError: if the table cannot be used.
    """
    if target in CURVES:
        curve = CURVES[target]
        x, measured = (torch.linspace(-limit, limit, n, dtype=torch.float64) for n in (_POINTS, 10 * _POINTS))
        y, expected = curve(x), curve(measured)
    elif _is_file(target, ".csv"):
        measured, expected = read_table(Path(target))
        x = torch.linspace(float(measured[0]), float(measured[-1]), _POINTS, dtype=torch.float64)
        y = _between(measured, expected, x)
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
    """Fit a filter to an impulse response by name or of a WAV file.

    Raises:
        ConfigError: if no response has that name.
        DataError: if the file cannot be used.
    """
    num_taps, note = processor.coords.shape[-1], ""
    if target in RESPONSES:
        taps = RESPONSES[target](num_taps, processor.sample_rate)
    elif _is_file(target, ".wav"):
        taps, lost = read_response(Path(target), num_taps, processor.sample_rate)
        note = (
            f"{lost:.1%} of the response's energy lies beyond {num_taps} taps and is left off." if lost > 1e-3 else ""
        )
    else:
        raise ConfigError(f"there is no response '{target}'. Responses: {', '.join(RESPONSES)}, or a .wav file.")
    fit(slowed(processor.net, _RESPONSE_W0), processor.coords[0, 0], taps, steps=steps)
    with torch.no_grad():
        return Fit(torch.arange(num_taps).double(), taps, processor.taps().double(), note)


def fit(net: Siren, values: Tensor, targets: Tensor, *, steps: int = 1000) -> float:
    """Make a network's output at `values` the targets, in the mean square, by L-BFGS in float64.

    Args:
        net: changed in place.
        values, targets: (points,).
        steps: at most.

    Returns:
        The largest error at any of the values, in the network's own precision.
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
    """A network that begins as one of another w0, smoother: then it is smooth between the points of a fit too."""
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


def _between(places: Tensor, values: Tensor, wanted: Tensor) -> Tensor:
    """Linear interpolation; `places` grow and hold the range of `wanted`."""
    right = torch.searchsorted(places, wanted).clamp(1, len(places) - 1)
    left = right - 1
    return values[left] + (values[right] - values[left]) * (wanted - places[left]) / (places[right] - places[left])
