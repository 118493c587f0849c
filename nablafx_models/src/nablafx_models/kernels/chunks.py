"""A diagonal state-space layer in chunks, and its gradients."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from nablafx_core.kernels.choice import traced
from nablafx_models.kernels.carry import carry, carry_back


class Matrices(NamedTuple):
    """What a layer is inside a chunk of `size` samples; a matrix's rows are what goes in.

    Args:
        own: from its samples to its own part of the output, (channels, size, size).
        into: from its samples to its part of the state after it, (channels, size, 2 states).
        out_of: from the state before it to the output, (channels, 2 states, size).
        log_decay: of the state over the chunk, (channels, states), complex, in the precision of the state.
    """

    own: Tensor
    into: Tensor
    out_of: Tensor
    log_decay: Tensor


def in_chunks(u: Tensor, state: Tensor, made: Matrices) -> tuple[Tensor, Tensor]:
    """s[t] = a s[t-1] + u[t],  y[t] = 2 Re sum over n of C'_n s_n[t] + D u[t].

    Args:
        u: (batch, channels, time), a whole number of chunks and at least one.
        state: s before the first sample, (batch, channels, states, 2).
        made: of `matrices`.

    Returns:
        y, of which a channel's items lie together in memory, and s after the last sample.
    """
    if traced():
        return _forward(u, state, made)[:2]
    y, end = _InChunks.apply(u, state, *made)  # type: ignore[no-untyped-call]
    return y, end


class _InChunks(torch.autograd.Function):
    """`in_chunks`, of which u and the states between chunks are kept, and no copy is made to join two products."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, state: Tensor, *made: Tensor) -> tuple[Tensor, Tensor]:
        y, end, entering = _forward(u, state, Matrices(*made))
        ctx.save_for_backward(u, entering, *made)
        return y, end

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        u, entering, own, into, out_of, log_decay = ctx.saved_tensors
        gradient = _rows(gradients[0], own.shape[1])
        of_entering = torch.bmm(gradient, out_of.mT).view_as(entering)
        of_added, of_state, of_log_decay = carry_back(of_entering, gradients[1].transpose(0, 1), entering, log_decay)
        of_added = of_added.view(len(own), -1, into.shape[2])
        of_u = of_own = of_into = of_out_of = None
        if ctx.needs_input_grad[0]:
            of_u = _signal(torch.bmm(gradient, own.mT).baddbmm_(of_added, into.mT), u)
        if any(ctx.needs_input_grad[2:]):
            samples, before = _rows(u, own.shape[1]), entering.view_as(of_added)
            of_own, of_out_of = torch.bmm(samples.mT, gradient), torch.bmm(before.mT, gradient)
            of_into = torch.bmm(of_added.mT, samples).mT  # three times as fast as the product the other way round
        return of_u, of_state.transpose(0, 1), of_own, of_into, of_out_of, of_log_decay


def _forward(u: Tensor, state: Tensor, made: Matrices) -> tuple[Tensor, Tensor, Tensor]:
    """y, the state after it, and those that enter the chunks, (channels, batch, chunks, states, 2)."""
    channels, size, pairs = made.into.shape
    samples = _rows(u, size)
    added = torch.bmm(samples, made.into).view(channels, u.shape[0], -1, pairs // 2, 2)
    entering, end = carry(added, state.transpose(0, 1), made.log_decay)
    y = torch.bmm(samples, made.own).baddbmm_(entering.view(channels, -1, pairs), made.out_of)
    return _signal(y, u), end.transpose(0, 1), entering


def _rows(signal: Tensor, size: int) -> Tensor:
    """(batch, channels, time) as chunks, (channels, batch chunks, size)."""
    return signal.transpose(0, 1).reshape(signal.shape[1], -1, size)


def _signal(rows: Tensor, like: Tensor) -> Tensor:
    """Chunks as (batch, channels, time)."""
    return rows.view(like.shape[1], like.shape[0], like.shape[2]).transpose(0, 1)


def matrices(log_decay: Tensor, readout: Tensor, direct: Tensor, size: int, dtype: torch.dtype) -> Matrices:
    """The matrices of a chunk, computed in the precision of `log_decay`.

    Args:
        log_decay: log a, (channels, states), complex.
        readout: C', like it.
        direct: D, (channels,).
        size: samples of a chunk.
        dtype: of the signals.
    """
    powers = powers_of(log_decay, range(size + 1))
    into = torch.view_as_real(powers[..., :size].flip(-1)).permute(0, 2, 1, 3)
    # 2 Re(C' a^l s) as a product of real numbers; where s is 1, the kernel.
    parts = torch.view_as_real(((2 * readout)[..., None] * powers).conj().resolve_conj()).transpose(2, 3)
    kernel = parts[:, :, 0, :size].sum(dim=1)
    first = kernel[:, :1] + direct[:, None]
    # Row i is the kernel, i samples late.
    own = torch.cat((kernel.new_zeros(len(kernel), size - 1), first, kernel[:, 1:]), dim=1).unfold(1, size, 1).flip(1)
    return Matrices(own.to(dtype), into.to(dtype).flatten(2), parts[..., 1:].to(dtype).flatten(1, 2), log_decay * size)


def powers_of(log_decay: Tensor, exponents: range) -> Tensor:
    """exp(log_decay l) for each l, (channels, num_states, len(exponents))."""
    steps = torch.arange(exponents.start, exponents.stop, device=log_decay.device, dtype=log_decay.real.dtype)
    return torch.exp(log_decay[..., None] * steps)
