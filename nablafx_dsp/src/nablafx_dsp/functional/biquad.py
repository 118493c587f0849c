"""Cascades of second-order recursive filters as differentiable functions with state."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nablafx_core.errors import ModelError
from nablafx_core.kernels.choice import compiled_for
from nablafx_core.kernels.pool import for_each
from nablafx_dsp.functional.linear_recursion import linear_recursion
from nablafx_dsp.functional.precision import wide_dtype
from nablafx_dsp.kernels import biquad as recursion


def cascade(
    audio: Tensor, coefficients: Tensor, state: Tensor | None = None, *, block_size: int = 1, skip: int = 0
) -> tuple[Tensor, Tensor]:
    """Filter a signal by second-order sections in series, exact even when their coefficients move.

    Each section is a transposed direct form II: y = b0 x + z1;  z1' = b1 x - a1 y + z2;  z2' = b2 x - a2 y.

    State and arithmetic are float64 even for float32 audio (float32 on MPS); coefficients are not rounded before. 1 +
    a1 + a2 of a filter of frequency f is about (2 pi f / sample_rate)^2, which is 7e-6 for 20 Hz at 48 kHz. Rounding a1
    to float32 changes it by 6e-8, which moves a 20 Hz filter by half a percent and a 1 kHz filter by 2e-6. With float64
    coefficients, as `nablafx_dsp.functional.cookbook` returns them, only the output is rounded to float32.

    Differentiable once, in audio, coefficients and state, through the output and the final state, so that gradients
    can flow across the chunks of truncated backpropagation. float32 and float64 on the CPU run compiled, and the output
    is the same, bit for bit, however the signal is cut into blocks. Everything else (accelerators, or
    ``NABLAFX_KERNELS=torch``) is a parallel scan in torch's operations: output, state and gradients are within 1e-9 of
    the compiled ones in float64 and within 1e-5 for float32 audio, relative to the peak of each; on MPS, which has no
    float64, within 1e-3 for poles of radius below 0.99.

    Args:
        audio: (batch, time), float32 or float64.
        coefficients: b0, b1, b2, a1, a2 with a0 = 1 of each section, (batch, sections, 5, frames): one frame for the
            whole signal, or one per block of `block_size` samples. Coefficients whose frames are contiguous in memory,
            as `cascade_coefficients` returns them, are read without a copy.
        state: z1 and z2 of each section, (batch, sections, 2); zero if None.
        block_size: number of samples of a block; 1 for coefficients per sample.
        skip: number of samples of the last block that come after the signal; the first block may begin before it.

    Returns:
        The output (batch, time) in the dtype of the audio, and the final state (batch, sections, 2), in float64
        (float32 on MPS).

    Raises:
        ModelError: if the shape of the coefficients or of the state does not match the audio and the blocks.
    """
    batch, time = audio.shape
    blocks = -(-(time + skip) // block_size)
    shape = coefficients.shape
    if len(shape) != 4 or shape[0] != batch or shape[1] < 1 or shape[2] != 5 or shape[3] not in (1, blocks):
        raise ModelError(
            f"cascade: expected coefficients of shape ({batch}, sections, 5, 1) or ({batch}, sections, 5, {blocks}) "
            f"for audio of shape {tuple(audio.shape)} in blocks of {block_size} samples, {skip} of them after it, got "
            f"{tuple(shape)}."
        )
    wide, sections = wide_dtype(audio.device), shape[1]
    if state is None:
        state = torch.zeros(batch, sections, 2, dtype=wide, device=audio.device)
    state = state.to(audio.device, wide)
    if state.shape != (batch, sections, 2):
        raise ModelError(
            f"cascade: expected a state of shape ({batch}, {sections}, 2) for {sections} sections, got "
            f"{tuple(state.shape)}."
        )
    if not compiled_for(audio, coefficients, state, dtypes=(torch.float32, torch.float64)):
        return _in_torch(audio, coefficients.to(wide), state, block_size, skip)
    held = (block_size, skip) if shape[3] > 1 else None
    most = recursion.MOST_SECTIONS
    if sections <= most:
        return _Cascade.apply(audio, coefficients, state, held)  # type: ignore[no-untyped-call, no-any-return]
    output, finals = audio.to(wide), []
    for first in range(0, sections, most):
        some = slice(first, first + most)
        output, final = _Cascade.apply(output, coefficients[:, some], state[:, some], held)  # type: ignore[no-untyped-call]
        finals.append(final)
    return output.to(audio.dtype), torch.cat(finals, dim=1)


def frequency_sampled(audio: Tensor, coefficients: Tensor) -> Tensor:
    """Approximate a cascade by its sampled frequency response times the spectrum of the audio.

    Recursive filters are often trained like this. The response is sampled at N points around the unit circle, where N
    is the smallest power of two that is at least twice the signal's length. This folds the impulse response at N
    samples: the tail beyond N, which is large for a low, sharp filter, is added at the wrong time. There is no state,
    and coefficients cannot move. `cascade` is exact. It runs in torch's operations.

    Args:
        audio: (batch, time).
        coefficients: b0, b1, b2, a1, a2 of each section, (batch, sections, 5, 1).

    Returns:
        The output from rest, (batch, time).

    Raises:
        ModelError: if the coefficients do not have this shape, for example if there is more than one frame.
    """
    if coefficients.ndim != 4 or coefficients.shape[2:] != (5, 1):
        raise ModelError(
            f"frequency_sampled: expected coefficients of shape (batch, sections, 5, 1), got "
            f"{tuple(coefficients.shape)}. Use cascade for coefficients that move."
        )
    time = audio.shape[-1]
    points = 1 << (2 * max(time, 2) - 1).bit_length()
    turns = torch.arange(points // 2 + 1, dtype=wide_dtype(audio.device), device=audio.device) / points
    delay = torch.polar(torch.ones_like(turns), -2 * torch.pi * turns)
    one, two = (z.to(coefficients.dtype.to_complex()) for z in (delay, delay * delay))
    filtered = torch.fft.rfft(audio, points)
    for section in coefficients[..., 0].unbind(1):
        b0, b1, b2, a1, a2 = section.T[..., None]
        response = (b0 + b1 * one + b2 * two) / (1 + a1 * one + a2 * two)
        filtered = filtered * response.to(filtered.dtype)
    output: Tensor = torch.fft.irfft(filtered, points)[..., :time]
    return output


def empty_in_large_pages(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Allocate a large uninitialised tensor on the CPU, such as coefficients per sample, through numpy.

    numpy asks for large memory pages and torch does not. With small pages, a kernel that reads such a tensor once
    spends half its time on page tables.
    """
    return torch.from_numpy(np.empty(shape, dtype=torch.empty(0, dtype=dtype).numpy().dtype))


class _Plan(NamedTuple):
    """Segments of a signal, cut at each multiple of `SEGMENT` and where a block of more than one sample begins.

    Args:
        bounds: index of the first sample of each segment, then the length of the signal.
        frames: index of the frame of coefficients at the first sample of each segment.
    """

    bounds: Any
    frames: Any


@lru_cache(maxsize=64)
def _plan(time: int, held: tuple[int, int] | None) -> _Plan:
    cuts = [np.arange(0, time, recursion.SEGMENT)]
    block_size, skip = held or (max(time, 1), 0)
    lead = -(time + skip) % block_size
    if block_size > 1:
        cuts.append(np.arange(block_size - lead, time, block_size))
    starts = np.unique(np.concatenate(cuts)).astype(np.int64)
    return _Plan(np.append(starts, time), (starts + lead) // block_size)


class _Cascade(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, audio: Tensor, coefficients: Tensor, state: Tensor, held: tuple[int, int] | None
    ) -> tuple[Tensor, Tensor]:
        """Filter the audio; `held` is (block size, skip), or None for a single frame."""
        batch, sections, _, frames = coefficients.shape
        plan, kept = _plan(audio.shape[1], held), any(ctx.needs_input_grad)
        moving = frames > 1 and held is not None and held[0] == 1
        audio, state = audio.contiguous(), state.contiguous()
        framed = coefficients.permute(0, 3, 1, 2).contiguous()
        marks = state.new_empty(batch, len(plan.frames) if kept else 1, 2 * sections)
        output, final = torch.empty_like(audio), torch.empty_like(state)
        arrays = (audio.numpy(), framed.view(-1).numpy(), *plan, int(moving), state.view(batch, -1).numpy(), int(kept))
        written = marks.numpy(), output.numpy(), final.view(batch, -1).numpy()
        kernel = recursion.forward_of(sections)
        for_each(batch, lambda item: kernel(item, *arrays, *written))
        ctx.plan, ctx.moving = plan, moving
        if kept:
            ctx.save_for_backward(audio, framed, marks)
        return output, final

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor, grad_final: Tensor) -> tuple[Tensor | None, ...]:
        audio, framed, marks = ctx.saved_tensors
        batch, sections = audio.shape[0], framed.shape[2]
        grad_audio, grad_state = torch.empty_like(audio), grad_final.contiguous().clone()
        if ctx.moving:
            grad_framed = empty_in_large_pages(*framed.shape, dtype=framed.dtype)
        else:
            grad_framed = torch.zeros_like(framed, dtype=torch.float64)
        arrays = audio.numpy(), framed.view(-1).numpy(), *ctx.plan, marks.numpy(), grad_output.contiguous().numpy()
        written = grad_state.view(batch, -1).numpy(), grad_audio.numpy(), grad_framed.view(-1).numpy()
        kernel = recursion.backward_of(sections, ctx.moving)
        for_each(batch, lambda item: kernel(item, *arrays, *written))
        gradients = grad_audio, grad_framed.to(framed.dtype).permute(0, 2, 3, 1), grad_state, None
        return tuple(g if needed else None for g, needed in zip(gradients, ctx.needs_input_grad, strict=True))


def _in_torch(audio: Tensor, coefficients: Tensor, state: Tensor, block_size: int, skip: int) -> tuple[Tensor, Tensor]:
    """Compute `cascade` in torch's operations, section by section, with coefficients in the dtype of the state."""
    if coefficients.shape[-1] > 1 and block_size > 1:
        stop = coefficients.shape[-1] * block_size - skip
        coefficients = coefficients.repeat_interleave(block_size, dim=-1)[..., stop - audio.shape[-1] : stop]
    output, finals = audio.to(coefficients.dtype), []
    for section in range(coefficients.shape[1]):
        output, final = _Scan.apply(output, coefficients[:, section], state[:, section])  # type: ignore[no-untyped-call]
        finals.append(final)
    return output.to(audio.dtype), torch.stack(finals, dim=1)


class _Scan(torch.autograd.Function):
    """One section as a parallel scan, with the adjoint of `nablafx_dsp.kernels.biquad.backward_of`."""

    @staticmethod
    def forward(ctx: Any, audio: Tensor, coefficients: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Filter audio (batch, time) by coefficients (batch, 5, time or 1) from a state (batch, 2)."""
        b0, b1, b2, a1, a2 = coefficients.unbind(1)
        x = audio.to(coefficients.dtype)
        drive = torch.stack([(b1 - a1 * b0) * x, (b2 - a2 * b0) * x], dim=-1)
        after = linear_recursion(_transition(a1, a2), drive, state)
        before = torch.cat([state[:, None], after], dim=1)
        output = (b0 * x + before[:, :-1, 0]).to(audio.dtype)
        ctx.save_for_backward(audio, coefficients, output)
        return output, before[:, -1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor, grad_final: Tensor) -> tuple[Tensor | None, ...]:
        audio, coefficients, output = ctx.saved_tensors
        b0, b1, b2, a1, a2 = coefficients.unbind(1)
        g, x, y = (signal.to(coefficients.dtype) for signal in (grad_output, audio, output))
        reversed_transition = _transition(a1, a2).flip(1).transpose(-1, -2)
        drive = torch.stack([g, torch.zeros_like(g)], dim=-1).flip(1)
        before = linear_recursion(reversed_transition, drive, grad_final).flip(1)
        after = torch.cat([before, grad_final[:, None]], dim=1)
        h, l1, l2 = before[..., 0], after[:, 1:, 0], after[:, 1:, 1]
        grad_coefficients = torch.stack([h * x, l1 * x, l2 * x, -l1 * y, -l2 * y], dim=1)
        if coefficients.shape[-1] == 1:
            grad_coefficients = grad_coefficients.sum(-1, keepdim=True)
        gradients = (b0 * h + b1 * l1 + b2 * l2).to(audio.dtype), grad_coefficients, after[:, 0]
        return tuple(g if needed else None for g, needed in zip(gradients, ctx.needs_input_grad, strict=True))


def _transition(a1: Tensor, a2: Tensor) -> Tensor:
    """Return A of z' = A z + B x, (batch, frames, 2, 2), with z = (z1, z2) and a1, a2 of (batch, frames)."""
    one = torch.ones_like(a1)
    return torch.stack([torch.stack([-a1, one], -1), torch.stack([-a2, torch.zeros_like(a1)], -1)], -2)
