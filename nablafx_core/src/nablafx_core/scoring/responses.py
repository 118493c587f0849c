"""What a processor does while its parameters stand still, found by sending a signal through it."""

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

LOWEST_HZ = 10.0  # below what is heard, above where a response needs minutes of signal
_SECONDS = 5.0  # a filter at 20 Hz with a Q of 10 falls by 270 dB
_POINTS = 600  # about one per pixel of an axis
_CURVE_POINTS = 801  # odd, so that 0 is one of them


def frequency_response(
    processor: Processor, settings: Sequence[Parameters]
) -> tuple[Signal, NDArray[np.complex128], NDArray[np.float64]]:
    """H(f) of a filter, the transform of its own response to an impulse, in float64; the declared latency is taken off.

    Args:
        processor: in float64 and eval mode, of the shape ``"filter"``.
        settings: of its parameters, in physical units.

    Returns:
        Frequencies in Hz from 10 to half the sample rate, evenly spread on a log axis, (n,); H, (settings, n); the
        unwrapped phase in degrees, (settings, n), which begins between -180 and 180.
    """
    rate = processor.sample_rate
    size = 1 << math.ceil(math.log2(_SECONDS * rate))
    impulse = torch.zeros(len(settings), 1, size, dtype=torch.float64)
    impulse[..., processor.latency] = 1  # what looks ahead answers before
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
    """Output over input of a nonlinearity without memory, its own output for a ramp, in float64.

    Args:
        processor: in float64 and eval mode, of the shape ``"nonlinearity"``.
        settings: of its parameters, in physical units.
        low, high: ends of the input.

    Returns:
        Inputs (n,) and outputs (settings, n).
    """
    ramp = torch.linspace(low, high, _CURVE_POINTS, dtype=torch.float64)
    return ramp.numpy(), _through(processor, ramp.expand(len(settings), 1, -1), settings)


def _through(processor: Processor, audio: Tensor, settings: Sequence[Parameters]) -> Signal:
    values = {name: torch.tensor([setting[name] for setting in settings], dtype=torch.float64) for name in settings[0]}
    with torch.no_grad():
        output: Signal = processor(audio, values)[0][:, 0].numpy()
    return output
