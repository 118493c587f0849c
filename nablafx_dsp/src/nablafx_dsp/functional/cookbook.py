"""Coefficients of five second-order filters: peaking, low-pass, high-pass, low shelf and high shelf.

Formulas by Robert Bristow-Johnson, "Cookbook formulae for audio EQ biquad filter coefficients" (W3C Note, 2021). Its
band-pass, notch and all-pass are not here. Shelves are set by Q, not by the slope S.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nablafx_core.kernels.choice import compiled_for
from nablafx_core.kernels.pool import for_each
from nablafx_dsp.functional.biquad import empty_in_large_pages
from nablafx_dsp.functional.precision import wide_dtype
from nablafx_dsp.kernels import cookbook as compiled_formulas

#: Function from cos(w0), alpha and A = 10^(gain_db / 40) to b0, b1, b2, a0, a1, a2.
Formula = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, ...]]


def _lowpass(c: Tensor, alpha: Tensor, a: Tensor) -> tuple[Tensor, ...]:
    return (1 - c) / 2, 1 - c, (1 - c) / 2, 1 + alpha, -2 * c, 1 - alpha


def _highpass(c: Tensor, alpha: Tensor, a: Tensor) -> tuple[Tensor, ...]:
    return (1 + c) / 2, -(1 + c), (1 + c) / 2, 1 + alpha, -2 * c, 1 - alpha


def _peaking(c: Tensor, alpha: Tensor, a: Tensor) -> tuple[Tensor, ...]:
    return 1 + alpha * a, -2 * c, 1 - alpha * a, 1 + alpha / a, -2 * c, 1 - alpha / a


def _lowshelf(c: Tensor, alpha: Tensor, a: Tensor) -> tuple[Tensor, ...]:
    up, down, slope = a + 1, a - 1, 2 * a.sqrt() * alpha
    b = a * (up - down * c + slope), 2 * a * (down - up * c), a * (up - down * c - slope)
    return *b, up + down * c + slope, -2 * (down + up * c), up + down * c - slope


def _highshelf(c: Tensor, alpha: Tensor, a: Tensor) -> tuple[Tensor, ...]:
    up, down, slope = a + 1, a - 1, 2 * a.sqrt() * alpha
    b = a * (up + down * c + slope), -2 * a * (down + up * c), a * (up + down * c - slope)
    return *b, up - down * c + slope, 2 * (down - up * c), up - down * c - slope


FORMULAS: dict[str, Formula] = {
    "peaking": _peaking,
    "lowpass": _lowpass,
    "highpass": _highpass,
    "lowshelf": _lowshelf,
    "highshelf": _highshelf,
}

#: The highest cutoff, relative to the sample rate; higher cutoffs are clamped to it. At 0.5, sin(w0) is 0 and
#: the poles reach the unit circle.
HIGHEST = 0.49


def cascade_coefficients(
    types: Sequence[str], cutoff_hz: Tensor, q: Tensor, gain_db: Tensor, sample_rate: float
) -> Tensor:
    """Return the coefficients of a cascade, normalised to a0 = 1 and computed in float64 (float32 on MPS).

    w0 = 2 pi cutoff_hz / sample_rate,  alpha = sin(w0) / (2 q),  A = 10^(gain_db / 40)

    On the CPU the formulas and their derivatives are compiled and differentiable once; only sines, cosines and powers
    are torch's. Everything else runs in torch's operations.

    Args:
        types: filter type of each section, keys of `FORMULAS`.
        cutoff_hz: cutoff in Hz (the centre of a peaking filter, the middle of a shelf's slope), (batch, sections,
            frames), above 0; clamped to 0.49 of the sample rate.
        q: quality factor, (batch, sections, frames), above 0.
        gain_db: gain in dB at the centre of a peaking filter or on the shelf, (batch, sections, frames); not used by
            low-pass and high-pass filters.
        sample_rate: sample rate in Hz.

    Returns:
        b0, b1, b2, a1, a2 of each section, (batch, sections, 5, frames). The coefficients of a frame are contiguous in
        memory, as `nablafx_dsp.functional.biquad.cascade` reads them.
    """
    wide = wide_dtype(cutoff_hz.device)
    w0 = 2 * math.pi / sample_rate * cutoff_hz.to(wide).clamp(max=HIGHEST * sample_rate)
    q, gain_db = q.to(wide), gain_db.to(wide)
    if compiled_for(w0, q, gain_db, dtypes=(torch.float64,)):
        framed: Tensor = _Coefficients.apply(tuple(types), w0, q, gain_db)  # type: ignore[no-untyped-call]
    else:
        framed = _in_torch(types, w0, q, gain_db)
    return framed.permute(0, 2, 3, 1)


def _in_torch(types: Sequence[str], w0: Tensor, q: Tensor, gain_db: Tensor) -> Tensor:
    """Compute the coefficients in torch's operations, (batch, frames, sections, 5), from (batch, sections, frames)."""
    c, alpha, amplitude = w0.cos(), w0.sin() / (2 * q), 10 ** (gain_db / 40)
    sections = []
    for i, type in enumerate(types):
        b0, b1, b2, a0, a1, a2 = FORMULAS[type](c[:, i], alpha[:, i], amplitude[:, i])
        sections.append(torch.stack([number / a0 for number in (b0, b1, b2, a1, a2)], dim=-1))
    return torch.stack(sections, dim=2)


class _Coefficients(torch.autograd.Function):
    """`_in_torch`, compiled, with a compiled derivative."""

    @staticmethod
    def forward(ctx: Any, types: tuple[str, ...], w0: Tensor, q: Tensor, gain_db: Tensor) -> Tensor:
        """Return the coefficients, (batch, frames, sections, 5)."""
        batch, sections, frames = w0.shape
        w0 = w0.contiguous()
        knobs = w0.cos(), w0.sin(), q.contiguous(), (gain_db.contiguous() * (math.log(10) / 40)).exp_()
        framed = empty_in_large_pages(batch, frames, sections, 5)
        arrays = [values.numpy() for values in (*knobs, framed)]
        kernels = [compiled_formulas.coefficients_of(*compiled_formulas.KINDS[type]) for type in types]
        for_each(batch, lambda item: _run_for_sections(kernels, item, arrays))
        ctx.types = types
        ctx.save_for_backward(*knobs, framed)
        return framed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of w0, q and gain_db."""
        *knobs, framed = ctx.saved_tensors
        gradients = [empty_in_large_pages(*knobs[0].shape) for _ in range(3)]
        arrays = [values.numpy() for values in (*knobs, framed, gradient.contiguous(), *gradients)]
        kernels = [compiled_formulas.gradients_of(*compiled_formulas.KINDS[type]) for type in ctx.types]
        for_each(framed.shape[0], lambda item: _run_for_sections(kernels, item, arrays))
        return tuple(g if needed else None for g, needed in zip((None, *gradients), ctx.needs_input_grad, strict=True))


def _run_for_sections(kernels: Sequence[Callable[..., None]], item: int, arrays: Sequence[Any]) -> None:
    frames = arrays[0].shape[-1]
    for start in range(0, frames, compiled_formulas.FRAMES):
        for section, kernel in enumerate(kernels):
            kernel(item, section, start, min(start + compiled_formulas.FRAMES, frames), *arrays)
