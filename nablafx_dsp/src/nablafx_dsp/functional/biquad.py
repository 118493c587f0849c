"""A cascade of second-order recursive filters as a differentiable function with state."""

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
from nablafx_dsp.kernels import biquad as recursion
from nablafx_dsp.kernels import biquad_scan as scan


def cascade(
    audio: Tensor, coefficients: Tensor, state: Tensor | None = None, *, block_size: int = 1, skip: int = 0
) -> tuple[Tensor, Tensor]:
    """Second-order sections one after the other, exact also where their coefficients move.

    Each is a transposed direct form II: y = b0 x + z1;  z1' = b1 x - a1 y + z2;  z2' = b2 x - a2 y.

    Memories and arithmetic are float64 for float32 audio too; coefficients are read in the precision that they are
    given in. 1 + a1 + a2 of a filter of frequency f is about (2 pi f / sample_rate)^2, which is 7e-6 for 20 Hz at
    48 kHz, and the rounding of a1 to float32 is 6e-8: that moves a 20 Hz filter by half a percent and a 1 kHz one by
    2e-6. With float64 coefficients, those of `nablafx_dsp.functional.cookbook`, nothing but the output is rounded.

    Differentiable once, in audio, coefficients and state, through the output and through the final state, so that
    truncated backpropagation may carry gradients across chunks. The same samples come out, bit for bit, wherever a
    signal is cut. The torch path (on accelerators, or with ``NABLAFX_KERNELS=torch``) has the tolerance that
    `nablafx_dsp.kernels.biquad_scan` states.

    Args:
        audio: (batch, time), float32 or float64.
        coefficients: b0, b1, b2, a1, a2 with a0 = 1 of each section, (batch, sections, 5, frames). One frame holds
            for the whole signal; otherwise there is one per block of `block_size` samples. Those of a frame beside
            each other in memory, as `cascade_coefficients` makes them, are read without a copy.
        state: z1 and z2 of each section, (batch, sections, 2); zero if None.
        block_size: samples of a block; 1 for coefficients per sample.
        skip: samples of the last block that come after the signal; the first block may have begun before it.

    Returns:
        The output (batch, time) and the state after it (batch, sections, 2), in float64 (float32 on MPS).

    Raises:
        ModelError: if the shapes do not belong together.
    """
    batch, time = audio.shape
    blocks = -(-(time + skip) // block_size)
    shape = coefficients.shape
    if len(shape) != 4 or shape[0] != batch or shape[1] < 1 or shape[2] != 5 or shape[3] not in (1, blocks):
        raise ModelError(
            f"cascade: coefficients of shape ({batch}, sections, 5, 1) or ({batch}, sections, 5, {blocks}) belong to "
            f"audio of shape {tuple(audio.shape)} in blocks of {block_size} with {skip} samples to come, not "
            f"{tuple(shape)}."
        )
    wide, sections = wide_dtype(audio.device), shape[1]
    if state is None:
        state = torch.zeros(batch, sections, 2, dtype=wide, device=audio.device)
    state = state.to(audio.device, wide)
    if state.shape != (batch, sections, 2):
        raise ModelError(
            f"cascade: the state of {sections} sections is ({batch}, {sections}, 2), not {tuple(state.shape)}."
        )
    if not compiled_for(audio, coefficients, state, dtypes=(torch.float32, torch.float64)):
        return _scanned(audio, coefficients.to(wide), state, block_size, skip)
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
    """The cascade's frequency response, sampled, times the spectrum of the audio: an approximation, by name.

    Many train recursive filters like this. The response is sampled at N points, N the power of two from twice the
    signal's length, which folds the impulse response at N samples: what it has left by then (a low, sharp filter has
    a lot) comes out in the wrong place. It has no state, and coefficients cannot move. `cascade` is exact.

    Args:
        audio: (batch, time).
        coefficients: b0, b1, b2, a1, a2 of each section, (batch, sections, 5, 1).

    Returns:
        (batch, time), from rest.

    Raises:
        ModelError: if there is more than one frame.
    """
    if coefficients.ndim != 4 or coefficients.shape[2:] != (5, 1):
        raise ModelError(
            f"frequency_sampled: coefficients are (batch, sections, 5, 1), not {tuple(coefficients.shape)}. Those that "
            "move need cascade."
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


def wide_dtype(device: torch.device) -> torch.dtype:
    """float64 where the device has it: what coefficients and states are computed in."""
    return torch.float32 if device.type == "mps" else torch.float64


def large(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Memory for coefficients per sample, which is large: numpy asks for large pages where torch does not.

    With small ones, half the time of a kernel that goes through it once is spent on page tables.
    """
    return torch.from_numpy(np.empty(shape, dtype=torch.empty(0, dtype=dtype).numpy().dtype))


class _Plan(NamedTuple):
    """How a kernel goes through a signal: from bound to bound, each with the frame that begins there or holds."""

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
        """`held`: block size and skip, or None where one frame holds."""
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
            grad_framed = large(*framed.shape, dtype=framed.dtype)
        else:
            grad_framed = torch.zeros_like(framed, dtype=torch.float64)
        arrays = audio.numpy(), framed.view(-1).numpy(), *ctx.plan, marks.numpy(), grad_output.contiguous().numpy()
        written = grad_state.view(batch, -1).numpy(), grad_audio.numpy(), grad_framed.view(-1).numpy()
        kernel = recursion.backward_of(sections, ctx.moving)
        for_each(batch, lambda item: kernel(item, *arrays, *written))
        gradients = grad_audio, grad_framed.to(framed.dtype).permute(0, 2, 3, 1), grad_state, None
        return tuple(g if needed else None for g, needed in zip(gradients, ctx.needs_input_grad, strict=True))


def _scanned(audio: Tensor, coefficients: Tensor, state: Tensor, block_size: int, skip: int) -> tuple[Tensor, Tensor]:
    """The torch path, section by section."""
    if coefficients.shape[-1] > 1 and block_size > 1:
        stop = coefficients.shape[-1] * block_size - skip
        coefficients = coefficients.repeat_interleave(block_size, dim=-1)[..., stop - audio.shape[-1] : stop]
    output, finals = audio.to(coefficients.dtype), []
    for section in range(coefficients.shape[1]):
        output, final = _Scan.apply(output, coefficients[:, section], state[:, section])  # type: ignore[no-untyped-call]
        finals.append(final)
    return output.to(audio.dtype), torch.stack(finals, dim=1)


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, audio: Tensor, coefficients: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        output, final = scan.forward(audio, coefficients, state)
        ctx.save_for_backward(audio, coefficients, output)
        return output, final

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor, grad_final: Tensor) -> tuple[Tensor | None, ...]:
        audio, coefficients, output = ctx.saved_tensors
        gradients = scan.backward(grad_output, grad_final, audio, output, coefficients)
        return tuple(g if needed else None for g, needed in zip(gradients, ctx.needs_input_grad, strict=True))
