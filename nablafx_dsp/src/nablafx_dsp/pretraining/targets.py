"""Targets of a fit: named curves, measured transfer curves, and impulse responses."""

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
    """Return the voltage over two antiparallel diodes after 2.2 kOhm: x = v + 2 R Is sinh(v / n), in volts.

    The values are those of `nablafx_dsp.circuits.diode_clipper.DiodeClipper`, without its capacitor.
    """
    leak, thermal = 2 * 2.2e3 * 2.52e-9, 45.3e-3
    low, high = torch.full_like(x, -2.0), torch.full_like(x, 2.0)
    for _ in range(60):  # bisection; after 60 halvings the interval is below the resolution of float64
        middle = (low + high) / 2
        above = middle + leak * torch.sinh(middle / thermal) > x
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return (low + high) / 2


_NONE, _ONE = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)

#: Nonlinearities by name, without a gain before the curve. The threshold and the knee of clippers are 1, the bias of
#: asymmetric_tanh is 0.3, and the offset of sine_fold is 0.
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
    """Read a measured transfer curve: a CSV file in UTF-8 with a row ``input,output`` for each point, in any order.

    A first row without any number is skipped as a heading, and so are empty rows.

    Returns:
        Inputs in increasing order and their outputs, float64 (points,).

    Raises:
        DataError: if a row does not consist of two finite numbers or repeats an input (the message names the row), the
            file cannot be read, or it has fewer than four points.
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
            raise DataError(f"{path}:{number}: '{','.join(row)}': expected two numbers, input,output.") from None
        if not (math.isfinite(source) and math.isfinite(target)):
            raise DataError(f"{path}:{number}: '{','.join(row)}' contains NaN or infinity. Correct the row.")
        if source in points:
            raise DataError(f"{path}:{number}: the input {source:g} occurs twice. Keep one row, or the mean of both.")
        points[source] = target
    if len(points) < 4:
        raise DataError(
            f"{path}: has {len(points)} points; a transfer curve requires 4 or more, one row input,output each."
        )
    table = torch.tensor(sorted(points.items()), dtype=torch.float64)
    return table[:, 0].contiguous(), table[:, 1].contiguous()


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _impulse(num_taps: int, sample_rate: int) -> Tensor:
    """Return an impulse: 1, followed by zeros, (num_taps,)."""
    return torch.eye(1, num_taps, dtype=torch.float64)[0]


#: Length of the transform in which a response's largest magnitude is found: under 1 Hz per bin at 48 kHz.
_BINS = 65_536


def _cabinet(num_taps: int, sample_rate: int) -> Tensor:
    """Return a loudspeaker cabinet's response by formula, (num_taps,): three damped resonances and a low-pass.

    r[k] = sum over i of a_i exp(-t / tau_i) sin(2 pi f_i t),  t = k / sample_rate, with f 900, 2200 and 3600 Hz, tau
    0.3, 0.25 and 0.2 ms and a 1, 0.6 and 0.5; h[k] = p h[k-1] + (1 - p) r[k],  p = exp(-2 pi 5000 / sample_rate);
    divided by the largest magnitude of its transform, so that no frequency is amplified. 64 taps at 48 kHz last 1.3 ms,
    which is too short for low frequencies.
    """
    t = np.arange(num_taps) / sample_rate
    modes = ((900, 0.3e-3, 1.0), (2200, 0.25e-3, 0.6), (3600, 0.2e-3, 0.5))
    rung = np.sum([gain * np.exp(-t / tau) * np.sin(2 * np.pi * hz * t) for hz, tau, gain in modes], axis=0)
    pole = math.exp(-2 * math.pi * 5000 / sample_rate)
    decay = (1 - pole) * pole ** np.arange(num_taps)
    response = np.convolve(rung, decay)[:num_taps]
    return torch.from_numpy(response / np.abs(np.fft.rfft(response, _BINS)).max())


#: Impulse responses by name, as functions of the number of taps and the sample rate in Hz; float64 (num_taps,).
RESPONSES: dict[str, Callable[[int, int], Tensor]] = {"impulse": _impulse, "cabinet": _cabinet}


def read_response(path: Path, num_taps: int, sample_rate: int) -> tuple[Tensor, float]:
    """Read the beginning of the impulse response in a file, at a sample rate; see `read_impulse_response`.

    Returns:
        The response, float64 (num_taps,), padded with zeros if the file is shorter; and the share of the whole
        response's energy that is cut off, in [0, 1].

    Raises:
        DataError: if `read_impulse_response` rejects the file, or its first `num_taps` samples are silent.
    """
    whole = read_impulse_response(path, sample_rate).double()
    taps = torch.nn.functional.pad(whole[:num_taps], (0, max(0, num_taps - len(whole))))
    energy = float(whole.square().sum())
    if not float(taps.square().sum()) > 0:
        raise DataError(
            f"{path}: the first {num_taps} samples at {sample_rate} Hz are silent. Remove the silence at its start, or "
            "raise num_taps."
        )
    return taps, max(0.0, 1 - float(taps.square().sum()) / energy)
