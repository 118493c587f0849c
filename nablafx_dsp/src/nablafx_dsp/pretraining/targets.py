"""What a processor can be fitted to: curves by name, measured transfer tables, and impulse responses."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nablafx_core.errors import DataError
from nablafx_dsp.functional import waveshaping as shapes
from nablafx_dsp.impulse_response import read_impulse_response


def _diode(x: Tensor) -> Tensor:
    """Two antiparallel diodes behind 2.2 kOhm, in volts: x = v + 2 R Is sinh(v / n), of `DiodeClipper` at rest."""
    leak, thermal = 2 * 2.2e3 * 2.52e-9, 45.3e-3
    low, high = torch.full_like(x, -2.0), torch.full_like(x, 2.0)
    for _ in range(60):  # halving: v grows with x, and the last interval is below float64's resolution
        middle = (low + high) / 2
        above = middle + leak * torch.sinh(middle / thermal) > x
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return (low + high) / 2


_NONE, _ONE = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)

#: Nonlinearities by name; those of processors at a threshold and a knee of 1, a bias of 0.3 and an offset of 0.
CURVES: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "hard_clip": lambda x: shapes.hard_clip(x, _ONE),
    "soft_clip": lambda x: shapes.soft_clip(x, _ONE, _ONE),
    "arctan": lambda x: 2 / math.pi * torch.arctan(math.pi / 2 * x),
    "diode": _diode,
    "asymmetric_tanh": lambda x: shapes.asymmetric_tanh(x, 0.3 * _ONE),
    "sine_fold": lambda x: shapes.sine_fold(x, _NONE),
}


def read_table(path: Path) -> tuple[Tensor, Tensor]:
    """A measured transfer curve: a CSV file with a row ``input,output`` for each point, in any order.

    A first row that holds no numbers is a heading.

    Returns:
        Inputs, growing, and their outputs, float64 (points,).

    Raises:
        DataError: naming the line, if it does not hold two finite numbers, or two lines have one input; or if the
            file cannot be read or has fewer than four points.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = [(number, row) for number, row in enumerate(csv.reader(file), 1) if any(map(str.strip, row))]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV: {error}.") from error
    points: dict[float, float] = {}
    for position, (number, row) in enumerate(rows):
        try:
            source, target = map(float, row)
        except ValueError:
            if position == 0 and not any(_is_number(cell) for cell in row):
                continue
            raise DataError(f"{path}:{number}: '{','.join(row)}' is not input,output: two numbers.") from None
        if not (math.isfinite(source) and math.isfinite(target)):
            raise DataError(f"{path}:{number}: '{','.join(row)}' holds a value that is not finite.")
        if source in points:
            raise DataError(f"{path}:{number}: the input {source:g} has an output already. Leave one, or their mean.")
        points[source] = target
    if len(points) < 4:
        raise DataError(f"{path}: has {len(points)} points; a transfer curve needs 4 or more, a row input,output each.")
    table = torch.tensor(sorted(points.items()), dtype=torch.float64)
    return table[:, 0].contiguous(), table[:, 1].contiguous()


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _impulse(num_taps: int, sample_rate: int) -> Tensor:
    """1, then silence."""
    return torch.eye(1, num_taps, dtype=torch.float64)[0]


def _cabinet(num_taps: int, sample_rate: int) -> Tensor:
    """A loudspeaker's cabinet by a formula: three damped resonances through a low-pass, at most 0 dB.

    r[k] = sum over i of a_i exp(-t / tau_i) sin(2 pi f_i t),  t = k / sample_rate, with f 900, 2200 and 3600 Hz, tau
    0.3, 0.25 and 0.2 ms and a 1, 0.6 and 0.5; h[k] = p h[k-1] + (1 - p) r[k],  p = exp(-2 pi 5000 / sample_rate);
    divided by the largest magnitude of its transform. 64 taps at 48 kHz last 1.3 ms, which is too short for a bass.
    """
    t = np.arange(num_taps) / sample_rate
    modes = ((900, 0.3e-3, 1.0), (2200, 0.25e-3, 0.6), (3600, 0.2e-3, 0.5))
    rung = np.sum([gain * np.exp(-t / tau) * np.sin(2 * np.pi * hz * t) for hz, tau, gain in modes], axis=0)
    pole = math.exp(-2 * math.pi * 5000 / sample_rate)
    decay = (1 - pole) * pole ** np.arange(num_taps)
    response = np.convolve(rung, decay)[:num_taps]
    return torch.from_numpy(response / np.abs(np.fft.rfft(response, 65536)).max())


#: Impulse responses by name, of a number of taps and a sample rate.
RESPONSES: dict[str, Callable[[int, int], Tensor]] = {"impulse": _impulse, "cabinet": _cabinet}


def read_response(path: Path, num_taps: int, sample_rate: int) -> tuple[Tensor, float]:
    """The beginning of the impulse response in a file; see `read_impulse_response`.

    Returns:
        float64 (num_taps,), zeros at its end if the file is shorter; and the share of the energy that is left off.

    Raises:
        DataError: if the file cannot be used or is silent in its first `num_taps`.
    """
    whole = read_impulse_response(path, sample_rate).double()
    taps = torch.nn.functional.pad(whole[:num_taps], (0, max(0, num_taps - len(whole))))
    energy = float(whole.square().sum())
    if not float(taps.square().sum()) > 0:
        raise DataError(f"{path}: the first {num_taps} samples at {sample_rate} Hz are silent. Cut what comes before.")
    return taps, max(0.0, 1 - float(taps.square().sum()) / energy)
