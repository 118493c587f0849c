"""Filters on the CPU, each against a baseline in the same process.

    python benchmarks/dsp.py
    python benchmarks/dsp.py --only cascade-float32 --repeats 51

`ratios.py` explains the comparison. To add a row, add a function to ROWS.

Most rows are cascades of five second-order sections, those of the parametric equalizer.

- cascade-*: 480,000 samples with coefficients per sample, in the memory layout of `cascade_coefficients` and in the
  audio's type; against scipy's filter with constant coefficients.
- cascade-training: forward and backward, with gradients to audio and coefficients, of 16 x 65,536 samples with
  constant coefficients (float64, frequency sampling in float32, as others do); against `frequency_sampled`.
- cascade-training-moving: the same with coefficients per sample (float32), against the same baseline, which does not
  support this.
- equalizer-training: forward and backward of a parametric equalizer whose 15 parameters come per block of 128 samples,
  with gradients to audio and parameters, 16 x 65,536 samples; against filtering block by block in a Python loop: for
  each block, the coefficients of its parameters, and frequency sampling from silence (unlike ours, which keeps its
  state).
- equalizer-training-hoisted: the same, but the baseline computes the coefficients of all blocks before its loop.

Two rows measure a compressor with peak detection and branching smoothing, 480,000 samples in float32.

- compressor: forward; against one pole by scipy's lfilter over the same samples.
- compressor-training: forward and backward, with gradients to audio and parameters; against forward alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from ratios import Row, compare, parser_for
from scipy.signal import lfilter, sosfilt

from nablafx_core.steps import Steps
from nablafx_dsp.functional.biquad import cascade, empty_in_large_pages, frequency_sampled
from nablafx_dsp.functional.cookbook import FORMULAS
from nablafx_dsp.processors.dynamics import Compressor
from nablafx_dsp.processors.equalizers import ParametricEQ

RATE = 48_000
SAMPLES = 480_000
BATCH, SEGMENT, BLOCK = 16, 65_536, 128


def settings(*shape: int) -> dict[str, torch.Tensor]:
    """Return random parameters of a parametric equalizer, by name."""
    return {p.name: p.from_unit(torch.rand(shape)) for p in ParametricEQ(RATE).effect_parameters}


def constant(batch: int) -> torch.Tensor:
    """Return coefficients of an equalizer, (batch, 5, 5, 1), in float64."""
    return ParametricEQ(RATE).coefficients(settings(batch))


def per_sample(batch: int, time: int, dtype: torch.dtype) -> torch.Tensor:
    """Return coefficients of an equalizer, (batch, 5, 5, time)."""
    values = {name: value[:, None].expand(-1, time) for name, value in settings(batch).items()}
    framed = ParametricEQ(RATE).coefficients(values).permute(0, 3, 1, 2)
    return empty_in_large_pages(*framed.shape, dtype=dtype).copy_(framed).permute(0, 2, 3, 1)


def forward(dtype: torch.dtype) -> Row:
    audio, moving = torch.randn(1, SAMPLES, dtype=dtype), per_sample(1, SAMPLES, dtype)
    sos = np.insert(moving[0, :, :, 0].numpy(), 3, 1.0, axis=1)
    return Row(lambda: cascade(audio, moving), lambda: sosfilt(sos, audio[0].numpy()), "scipy.signal.sosfilt")


def step(
    run: Callable[..., torch.Tensor], audio: torch.Tensor, target: torch.Tensor, *parameters: torch.Tensor
) -> None:
    """Run forward and backward under the mean-square loss, with new gradients to the audio and the parameters."""
    leaves = [tensor.detach().requires_grad_() for tensor in (audio, *parameters)]
    torch.autograd.grad((run(*leaves) - target).square().mean(), leaves)


def trained(moving: bool) -> Row:
    audio, target = torch.randn(2, BATCH, SEGMENT)
    coefficients = constant(BATCH)
    own = per_sample(BATCH, SEGMENT, torch.float32) if moving else coefficients
    return Row(
        partial(step, lambda *inputs: cascade(*inputs)[0], audio, target, own),
        partial(step, frequency_sampled, audio, target, coefficients.float()),
        "frequency sampling",
    )


def equalizer(hoisted: bool) -> Row:
    audio, target = torch.randn(2, BATCH, SEGMENT)
    processor, values = ParametricEQ(RATE), settings(BATCH, SEGMENT // BLOCK)

    def ours(audio: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        steps = {name: Steps(value, 0, BLOCK) for name, value in zip(values, parameters, strict=True)}
        return processor(audio[:, None], steps)[0][:, 0]

    def looped(audio: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        blocks = []
        held = dict(zip(values, parameters, strict=True))
        coefficients = plain_coefficients(held) if hoisted else None
        for index, block in enumerate(audio.split(BLOCK, dim=-1)):
            here = slice(index, index + 1)
            if coefficients is None:
                numbers = plain_coefficients({name: value[:, here] for name, value in held.items()})
            else:
                numbers = coefficients[..., here]
            blocks.append(short_block(block, numbers))
        return torch.cat(blocks, dim=-1)

    return Row(
        partial(step, ours, audio, target, *values.values()),
        partial(step, looped, audio, target, *values.values()),
        "a Python loop over blocks" + (", without its coefficients" if hoisted else ""),
    )


def short_block(audio: torch.Tensor, coefficients: torch.Tensor) -> torch.Tensor:
    """Compute `frequency_sampled` in the way that is faster for a short signal: fewer operations, more arithmetic."""
    points = 2 * audio.shape[-1]
    b, a = coefficients[:, :, :3, 0], torch.nn.functional.pad(coefficients[:, :, 3:, 0], (1, 0), value=1.0)
    response = (torch.fft.rfft(b, points) / torch.fft.rfft(a, points)).prod(dim=1)
    return torch.fft.irfft(torch.fft.rfft(audio, points) * response, points)[..., : audio.shape[-1]]


def plain_coefficients(values: dict[str, torch.Tensor]) -> torch.Tensor:
    """Compute the cookbook's coefficients in torch, in the parameters' own type: (batch, 5, 5, frames)."""
    bands = []
    for band in ParametricEQ.table:
        gain, cutoff, q = (values[f"{band.name}_{name}"] for name in ("gain_db", "cutoff_hz", "q"))
        w0 = 2 * torch.pi / RATE * cutoff
        b0, b1, b2, a0, a1, a2 = FORMULAS[band.type](w0.cos(), w0.sin() / (2 * q), 10 ** (gain / 40))
        bands.append(torch.stack([b0, b1, b2, a1, a2], dim=1) / a0[:, None])
    return torch.stack(bands, dim=1)


def compressor(training: bool) -> Row:
    audio, target = 0.3 * torch.randn(2, 1, 1, SAMPLES)
    processor = Compressor(RATE)
    values = {p.name: p.from_unit(torch.full((1,), 0.5)) for p in processor.effect_parameters}

    def ours(audio: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        return processor(audio, dict(zip(values, parameters, strict=True)))[0]

    forward = partial(ours, audio, *values.values())
    if training:
        return Row(partial(step, ours, audio, target, *values.values()), forward, "forward alone", cost=True)
    b, a, samples = np.float32([0.01]), np.float32([1, -0.99]), audio[0, 0].numpy()
    return Row(forward, lambda: lfilter(b, a, samples), "one pole by scipy.signal.lfilter", cost=True)


ROWS: dict[str, Callable[[], Row]] = {
    "cascade-float32": partial(forward, torch.float32),
    "cascade-float64": partial(forward, torch.float64),
    "cascade-training": partial(trained, False),
    "cascade-training-moving": partial(trained, True),
    "equalizer-training": partial(equalizer, False),
    "equalizer-training-hoisted": partial(equalizer, True),
    "compressor": partial(compressor, False),
    "compressor-training": partial(compressor, True),
}


if __name__ == "__main__":
    compare(ROWS, parser_for(ROWS, __doc__).parse_args())
