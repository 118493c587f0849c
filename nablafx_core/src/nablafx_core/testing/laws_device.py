"""Laws of devices: the output has the input's length, is finite, and depends only on the input and the knobs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from nablafx_core.interfaces import Device
from nablafx_core.testing.subject import LawBroken

RATES = (44_100, 96_000)  # two rates of recordings that are no multiples of each other


def device_renders(device: Device, *, time: int = 1024) -> float:
    """Check that silence, full scale and noise give finite float64 of the same length at the ends of all knobs.

    At 44.1 kHz and 96 kHz, with the knobs at their defaults, all together at either end, and each alone at either end
    with the others at their defaults; also for noise of 1 and 7 samples. The device must not change its input.

    Returns:
        The largest absolute value of the output.

    Raises:
        LawBroken: if the output has another type or length, or is NaN or infinite, or the input was changed.
    """
    peak = 0.0
    for rate in RATES:
        for knobs in _settings(device):
            for name, audio in _inputs(time).items():
                peak = max(peak, _checked(device, name, audio, rate, knobs))
    for length in (1, 7):
        _checked(device, "noise", _inputs(time)["noise"][:length], RATES[0], _defaults(device))
    return peak


def _checked(device: Device, name: str, audio: Any, rate: int, knobs: Sequence[float]) -> float:
    given = audio.copy()
    out = device.render(given, rate, knobs)
    at = f"{name} of {len(audio)} samples at {rate} Hz, knobs at {_written(knobs)}"
    if not isinstance(out, np.ndarray) or out.dtype != np.float64 or out.shape != audio.shape:
        told = f"{out.dtype} of shape {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        raise LawBroken(
            f"{type(device).__name__}.render returned {told} for {at}; expected float64 of shape {audio.shape}. "
            "Return a numpy array as long as the input, with the delay compensated."
        )
    if not np.isfinite(out).all():
        raise LawBroken(
            f"{type(device).__name__}.render returned {np.sum(~np.isfinite(out))} values that are NaN or infinite for "
            f"{at}; expected none. Limit the values of a solver, and add a floor to denominators."
        )
    if not np.array_equal(given, audio):
        raise LawBroken(f"{type(device).__name__}.render changed its input, for {at}. Work on a copy.")
    return float(np.abs(out).max(initial=0.0))


def device_keeps_no_state(device: Device, *, time: int = 1024) -> float:
    """Check that the same input gives exactly the same output after another rendering.

    Returns:
        The largest difference, which is 0.0.

    Raises:
        LawBroken: if there is a difference.
    """
    audio, knobs = _inputs(time)["noise"], _defaults(device)
    first = device.render(audio.copy(), RATES[0], knobs)
    device.render(_inputs(time)["full scale"], RATES[1], [1.0] * len(device.controls))
    difference = float(np.abs(device.render(audio.copy(), RATES[0], knobs) - first).max())
    if not difference == 0.0:
        raise LawBroken(
            f"{type(device).__name__} returned a different output for the same input after another rendering: measured "
            f"{difference:.3g}, allowed 0. Start each rendering from rest, and draw noise with a fixed seed."
        )
    return difference


def every_knob_moves_the_device(device: Device, *, time: int = 1024, threshold: float = 1e-6) -> float:
    """Check that turning each knob from 0 to 0.5 or 1 changes the output for noise, for some setting of the others.

    The other knobs are at their defaults, all at 0.5, or all at 1.

    Returns:
        The largest change of a sample for each knob, and of these the smallest; infinite without knobs.

    Raises:
        LawBroken: if the largest change for a knob is not more than `threshold`.
    """
    audio = _inputs(time)["noise"]
    moved = {}
    for index, control in enumerate(device.controls):
        moved[control.name] = 0.0
        for others in (_defaults(device), [0.5] * len(device.controls), [1.0] * len(device.controls)):
            low, middle, high = (
                device.render(audio.copy(), RATES[0], [*others[:index], end, *others[index + 1 :]])
                for end in (0.0, 0.5, 1.0)
            )
            distance = max(np.abs(low - high).max(), np.abs(low - middle).max())  # a switch may be equal at both ends
            moved[control.name] = max(moved[control.name], float(distance))
    still = [name for name, distance in moved.items() if not distance > threshold]
    if still:
        raise LawBroken(
            f"{type(device).__name__}: turning {', '.join(still)} from end to end changed the output by at most "
            f"{max(moved[name] for name in still):.3g}; expected more than {threshold:g}. Use the knob, or remove it "
            "from `controls`."
        )
    return min(moved.values(), default=float("inf"))


def _inputs(time: int) -> dict[str, Any]:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, time)
    square = np.where(np.arange(time) % 100 < 50, 1.0, -1.0)
    return {"silence": np.zeros(time), "full scale": square, "noise": noise}


def _settings(device: Device) -> Iterator[list[float]]:
    """Yield the knobs' defaults, all knobs at either end, and each at either end with the others at their defaults."""
    defaults = _defaults(device)
    yield defaults
    if defaults:
        yield [0.0] * len(defaults)
        yield [1.0] * len(defaults)
    if len(defaults) > 1:
        for index in range(len(defaults)):
            for end in (0.0, 1.0):
                yield [*defaults[:index], end, *defaults[index + 1 :]]


def _defaults(device: Device) -> list[float]:
    return [control.default_unit for control in device.controls]


def _written(knobs: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in knobs) or "none"
