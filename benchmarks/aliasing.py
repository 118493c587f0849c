"""Aliasing of nonlinearities: energy outside the harmonics of a sine, without and with each remedy.

    python benchmarks/aliasing.py
    python benchmarks/aliasing.py --hz 5000 --drive-db 30

A sine that is periodic in a prime number of samples has harmonics that fold onto bins of the transform on which no
harmonic below half the sample rate lies: k times the sine's bin, modulo a prime, repeats only after as many harmonics.
The energy in the other bins is aliasing. The table gives its energy below 20 kHz, or at all frequencies with ``--all``,
in dB relative to that of the fundamental. Computed in float64, in the steady state: the second of three periods is
measured.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch

from nablafx_core.interfaces import Processor
from nablafx_core.registry.building import build

RATE = 48_000
PRIME = 47_981
HIGHEST_HZ = 20_000.0

METHODS: dict[str, tuple[int, str]] = {
    "1x": (1, "none"),
    "2x": (2, "none"),
    "4x": (4, "none"),
    "8x": (8, "none"),
    "adaa1": (1, "adaa1"),
    "adaa1 + 2x": (2, "adaa1"),
    "adaa1 + 4x": (4, "adaa1"),
    "adaa1 + 8x": (8, "adaa1"),
}


def processor(name: str, factor: int, antialiasing: str) -> Processor:
    """Build a nonlinearity with a remedy.

    Args:
        name: name of the processor in the registry.
        factor: oversampling factor; 1 for no oversampling.
        antialiasing: the nonlinearity's setting `antialiasing`.
    """
    section: dict[str, Any] = {"name": name, "antialiasing": antialiasing}
    if factor > 1:
        section = {"name": "oversampled", "factor": factor, "processor": section}
    built: Processor = build("processor", section, sample_rate=RATE)
    return built.double().eval()


def sine(hz: float, level: float) -> torch.Tensor:
    """Return a sine of the nearest frequency that is periodic in PRIME samples, of three such periods."""
    cycles = round(hz * PRIME / RATE)
    return level * torch.sin(2 * torch.pi * cycles / PRIME * torch.arange(3 * PRIME, dtype=torch.float64))[None, None]


def aliasing_db(subject: Processor, audio: torch.Tensor, parameters: dict[str, float], highest_hz: float) -> float:
    """Return the energy outside the harmonics up to `highest_hz`, in dB relative to the fundamental.

    Args:
        subject: processor in float64.
        audio: signal of `sine`.
        parameters: the processor's parameters, in physical units.
        highest_hz: highest frequency of the bins that count.
    """
    values = {p.name: torch.tensor([parameters[p.name]], dtype=torch.float64) for p in subject.effect_parameters}
    with torch.no_grad():
        output = subject(audio, values)[0][0, 0, PRIME : 2 * PRIME].numpy()
    energy = np.abs(np.fft.rfft(output)) ** 2
    fundamental = int(np.abs(np.fft.rfft(audio[0, 0, :PRIME].numpy())).argmax())
    off = np.arange(len(energy)) * RATE / PRIME <= highest_hz
    off[::fundamental] = False  # a constant is not aliasing either
    return float(10 * np.log10(energy[off].sum() / energy[fundamental]))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--hz", type=float, default=1_661.0, help="of the sine")
    parser.add_argument("--drive-db", type=float, default=20.0, help="gain before the curve")
    parser.add_argument("--all", action="store_true", help="count up to half the sample rate")
    options = parser.parse_args()
    highest = RATE / 2 if options.all else HIGHEST_HZ
    loud = 10 ** (options.drive_db / 20)
    given = {"drive_db": options.drive_db, "threshold": 1.0, "knee": 0.5, "bias": 0.5, "offset": 0.0}
    given |= {"thermal_voltage_volt": 0.045, "saturation_volt": 5.5e-6}
    cells = [f"{'':16}", *(f"{method:>11}" for method in METHODS)]
    print("".join(cells))  # noqa: T201
    for name in ("tanh", "hard_clip", "soft_clip", "asymmetric_tanh", "diode", "wave_folder"):
        audio = sine(options.hz, loud if name == "tanh" else 1.0)
        levels = (aliasing_db(processor(name, *method), audio, given, highest) for method in METHODS.values())
        print(f"{name:16}" + "".join(f"{level:11.1f}" for level in levels), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
