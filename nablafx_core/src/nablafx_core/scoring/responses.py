"""Measure the response of a processor with constant parameters, by sending a signal through it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nablafx_core.interfaces import Processor

Signal = NDArray[np.float64]
Parameters = dict[str, float]

LOWEST_HZ = 10.0  # below what is heard, and above where measuring a response needs minutes of signal
_SECONDS = 5.0  # a filter at 20 Hz with a Q of 10 falls by 270 dB
_POINTS = 600  # about one per pixel of an axis
_CURVE_POINTS = 801  # odd, so that 0 is one of them


def frequency_response(
    processor: Processor, settings: Sequence[Parameters]
) -> tuple[Signal, NDArray[np.complex128], NDArray[np.float64]]:
    """Measure H(f) of a filter: the Fourier transform of its impulse response in float64, without the declared latency.

    Args:
        processor: processor whose `shape` is ``"filter"``, in float64 and eval mode; its first channel is measured.
        settings: values of the processor's parameters by name, in physical units, one dictionary per response.

    Returns:
        Frequencies in Hz from 10 to half the sample rate, at most 600, about evenly spaced on a log axis, (n,); H,
        (settings, n); and the phase in degrees, unwrapped, between -180 and 180 at the first frequency, (settings, n).
    """
    rate = processor.sample_rate
    size = 1 << math.ceil(math.log2(_SECONDS * rate))
    impulse = torch.zeros(len(settings), 1, size, dtype=torch.float64)
    impulse[..., processor.latency] = 1  # a filter that looks ahead responds before the impulse
    spectrum = np.fft.rfft(_through(processor, impulse, settings))
    spectrum *= np.exp(2j * np.pi * np.arange(size // 2 + 1) * processor.latency / size)
    first = math.ceil(LOWEST_HZ * size / rate)
    bins = np.unique(np.geomspace(first, size // 2, _POINTS).round().astype(int))
    phase = np.degrees(np.unwrap(np.angle(spectrum[:, 1:])))
    phase -= 360 * np.round(phase[:, first - 1 : first] / 360)
    return bins * rate / size, spectrum[:, bins], phase[:, bins - 1]


def transfer_curve(
    processor: Processor, settings: Sequence[Parameters], low: float, high: float
) -> tuple[Signal, Signal]:
    """Measure output over input of a memoryless nonlinearity: its output for a ramp, in float64.

    Args:
        processor: processor whose `shape` is ``"nonlinearity"``, in float64 and eval mode.
        settings: values of the processor's parameters by name, in physical units, one dictionary per curve.
        low, high: smallest and largest input; full scale is 1.

    Returns:
        801 evenly spaced inputs, (n,), and the outputs for them, (settings, n).
    """
    ramp = torch.linspace(low, high, _CURVE_POINTS, dtype=torch.float64)
    return ramp.numpy(), _through(processor, ramp.expand(len(settings), 1, -1), settings)


def _through(processor: Processor, audio: Tensor, settings: Sequence[Parameters]) -> Signal:
    values = {name: torch.tensor([setting[name] for setting in settings], dtype=torch.float64) for name in settings[0]}
    with torch.no_grad():
        output: Signal = processor(audio, values)[0][:, 0].numpy()
    return output
