"""Recovery of the settings of a known compressor by gradients, from random starts.

    python benchmarks/recovery.py
    python benchmarks/recovery.py --smoothing decoupled --noise-db -60

For each seed a compressor with random settings renders a few seconds of bursts of tones and noise of many levels, and
another, from a random start, is fitted to the output: by Adam, then by L-BFGS, both with the adjoint's gradients.
A setting counts as found if attack, release and ratio are within 10 % and the threshold is within 1 dB. All parameters
are fitted; knee, make-up and the averaging time are not judged.

Threshold, ratio and knee lie along a valley: a softer knee with a higher threshold and ratio is nearly the same curve
over the levels that occur. Adam, which scales each parameter separately, is slow along it; L-BFGS is fast.
"""

from __future__ import annotations

import argparse
import math
import time

import torch
from torch import Tensor

from nablafx_core.controls import Parameter
from nablafx_dsp.processors.dynamics import Compressor

RATE = 48_000
#: Ranges of the known compressors, inside those that the fit may search.
KNOWN = {
    "threshold_db": (-45.0, -15.0),
    "ratio": (2.0, 10.0),
    "knee_db": (0.0, 12.0),
    "attack_ms": (0.5, 40.0),
    "release_ms": (30.0, 500.0),
    "makeup_db": (0.0, 12.0),
    "rms_ms": (2.0, 30.0),
}
RELATIVE, DECIBELS = 0.1, 1.0
JUDGED = ("attack_ms", "release_ms", "threshold_db", "ratio")


def programme(seconds: float, generator: torch.Generator) -> Tensor:
    """Return bursts of 20 to 400 ms of tones or noise, from -60 to 0 dB, (time,)."""
    parts: list[Tensor] = []
    while sum(len(part) for part in parts) < seconds * RATE:
        length, frequency, level, noise = torch.rand(4, generator=generator).tolist()
        count = round(RATE * 0.02 * 20**length)
        tone = torch.sin(2 * math.pi * 80 * 50**frequency / RATE * torch.arange(count))
        sound = torch.rand(count, generator=generator) * 2 - 1 if noise < 0.5 else tone
        parts.append(10 ** (-3 * level) * sound)
    return torch.cat(parts)[: round(seconds * RATE)]


def known(parameters: tuple[Parameter, ...], generator: torch.Generator) -> dict[str, Tensor]:
    """Return random settings inside `KNOWN`, each (1,)."""
    drawn = {}
    for parameter in parameters:
        low, high = (parameter.to_unit(value) for value in KNOWN[parameter.name])
        drawn[parameter.name] = parameter.from_unit(low + (high - low) * torch.rand(1, generator=generator))
    return drawn


class Fit:
    """Compressor with random settings, to be fitted to the output of another one for the same audio.

    Args:
        compressor: processor to fit.
        audio: input, (1, 1, time).
        target: expected output.
        generator: random generator for the start.
    """

    def __init__(self, compressor: Compressor, audio: Tensor, target: Tensor, generator: torch.Generator) -> None:
        count = len(compressor.effect_parameters)
        start = torch.logit(0.1 + 0.8 * torch.rand(count, generator=generator))
        self.logits = start.to(audio.dtype).requires_grad_()
        self.compressor, self.audio, self.target = compressor, audio, target
        # each sample is weighted by the level around it, so that quiet ones count too
        self.weight = 1 / (loudness(target) + 1e-4)

    def loss(self) -> Tensor:
        """Return the mean square of the weighted error."""
        output = self.compressor(self.audio, settings(self.compressor, self.logits))[0]
        return (self.weight * (output - self.target)).square().mean()

    def adam(self, steps: int, rate: float) -> None:
        """Fit by Adam, with a rate that falls along a cosine to a hundredth."""
        optimizer = torch.optim.Adam([self.logits], lr=rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, rate / 100)
        for _ in range(steps):
            optimizer.zero_grad()
            self.loss().backward()
            optimizer.step()
            schedule.step()

    def lbfgs(self, steps: int) -> None:
        """Fit by L-BFGS, which uses the curvature to reach the bottom of a valley that Adam has found."""
        optimizer = torch.optim.LBFGS(
            [self.logits],
            max_iter=steps,
            history_size=20,
            tolerance_grad=1e-12,
            tolerance_change=1e-14,
            line_search_fn="strong_wolfe",
        )

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = self.loss()
            loss.backward()
            return loss

        optimizer.step(closure)

    @torch.no_grad()
    def found(self) -> dict[str, float]:
        """Return the settings in units."""
        return {name: float(value) for name, value in settings(self.compressor, self.logits).items()}

    @torch.no_grad()
    def error(self) -> float:
        """Return the energy of the error relative to that of the target."""
        output = self.compressor(self.audio, settings(self.compressor, self.logits))[0]
        return float((output - self.target).square().mean() / self.target.square().mean())


def settings(compressor: Compressor, logits: Tensor) -> dict[str, Tensor]:
    """Return the parameters by name, each (1,)."""
    units = torch.sigmoid(logits)
    return {p.name: p.from_unit(units[i : i + 1]) for i, p in enumerate(compressor.effect_parameters)}


def loudness(audio: Tensor) -> Tensor:
    """Return the root mean square over 10 ms."""
    return torch.nn.functional.avg_pool1d(audio.square(), 481, 1, 240).sqrt()


def noisy(target: Tensor, level_db: float | None, generator: torch.Generator) -> Tensor:
    """Return the target with white noise, as in a recording, at a level relative to the target's."""
    if level_db is None:
        return target
    noise = torch.randn(target.shape, generator=generator).to(target)
    return target + noise * target.square().mean().sqrt() * 10 ** (level_db / 20)


def missed(found: dict[str, float], right: dict[str, float]) -> list[str]:
    """Return the settings that are outside the limits."""
    limits = {name: DECIBELS if name.endswith("_db") else RELATIVE * right[name] for name in JUDGED}
    return [name for name, limit in limits.items() if abs(found[name] - right[name]) > limit]


def short(wrong: list[str]) -> str:
    """Return a short text of the missed settings, for the table."""
    return " ".join(name.split("_")[0] for name in wrong) or "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--adam", type=int, default=500, help="steps of Adam")
    parser.add_argument("--lbfgs", type=int, default=100, help="steps of L-BFGS after it")
    parser.add_argument("--rate", type=float, default=0.1, help="learning rate of Adam")
    parser.add_argument("--seconds", type=float, default=3.0, help="of the programme")
    parser.add_argument("--noise-db", type=float, help="level of noise on the target, relative to it; none if left out")
    parser.add_argument("--detector", choices=["peak", "rms"], default="peak")
    parser.add_argument("--smoothing", choices=["branching", "decoupled"], default="branching")
    options = parser.parse_args()
    torch.set_num_threads(1)
    compressor = Compressor(RATE, options.detector, options.smoothing)
    names = [parameter.name for parameter in compressor.effect_parameters]
    heading = "".join(f"{name:>19}" for name in names)
    print(f"SEED{heading}{'ESR':>9}{'TIME':>7}  {'MISSED BY ADAM':<32}MISSED AFTER L-BFGS")  # noqa: T201
    good = [0, 0]
    for seed in range(options.first, options.first + options.seeds):
        generator, began = torch.Generator().manual_seed(seed), time.perf_counter()
        audio = programme(options.seconds, generator)[None, None].double()
        right = {name: value.double() for name, value in known(compressor.effect_parameters, generator).items()}
        with torch.no_grad():
            target = compressor(audio, right)[0]
        fit = Fit(compressor, audio, noisy(target, options.noise_db, generator), generator)
        true = {name: float(value) for name, value in right.items()}
        fit.adam(options.adam, options.rate)
        early = missed(fit.found(), true)
        fit.lbfgs(options.lbfgs)
        found = fit.found()
        late = missed(found, true)
        good = [good[0] + (not early), good[1] + (not late)]
        cells = "".join(f"{true[name]:>9.2f} ->{found[name]:>7.2f}" for name in names)
        spent = f"{time.perf_counter() - began:.0f} s"
        print(f"{seed:<4}{cells}{fit.error():>9.0e}{spent:>7}  {short(early):<32}{short(late)}", flush=True)  # noqa: T201
    print(f"all four found in {good[0]} of {options.seeds} by Adam, in {good[1]} after L-BFGS")  # noqa: T201


if __name__ == "__main__":
    main()
