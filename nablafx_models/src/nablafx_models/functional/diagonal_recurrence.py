"""Diagonal linear recurrence with a readout, in chunks and sample by sample.

s[t] = a s[t-1] + u[t],  y[t] = 2 Re sum over n of C'_n s_n[t] + D u[t]

for each channel, with complex states s_n. `in_chunks` is differentiable: a product with a matrix inside each chunk, and
a recurrence from chunk to chunk. `in_samples` has no gradients and no matrices to prepare, so it suits short calls.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, fft

from nablafx_core.kernels.choice import compiled_for, traced
from nablafx_models.kernels import diagonal_recurrence as loops


class ChunkMatrices(NamedTuple):
    """The layer inside a chunk of `size` samples, as matrices whose rows are the inputs.

    Args:
        direct: from the samples of a chunk to its output for a zero state, D u included, (channels, size, size).
        into_state: from the samples of a chunk to what they add to the state after it, (channels, size, 2 states).
        from_state: from the state before a chunk to its output, (channels, 2 states, size).
        log_decay: size times log a, the logarithm of the state's decay over the chunk, (channels, states), complex, in
            the precision of the state.
    """

    direct: Tensor
    into_state: Tensor
    from_state: Tensor
    log_decay: Tensor


def runs_compiled(like: Tensor) -> bool:
    """Return True if compiled loops can process a float32 or float64 signal on the CPU; see `compiled_for`."""
    return compiled_for(like, dtypes=(torch.float32, torch.float64))


def in_samples(u: Tensor, state: Tensor, decay: Tensor, readout: Tensor, direct: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the recurrence sample by sample in compiled code, without gradients.

    Args:
        u: (batch, channels, time), for which `runs_compiled` is true.
        state: s before the first sample, (batch, channels, states, 2), float64.
        decay: a, (channels, states), complex128.
        readout: C', (channels, states), complex128.
        direct: D, (channels,).

    Returns:
        y, (batch, channels, time), in which the items of a channel are adjacent in memory; and s after the last sample,
        of the shape and dtype of `state`.
    """
    after = state.clone(memory_format=torch.contiguous_format)
    y = u.new_empty(u.shape[1], u.shape[0], u.shape[2])
    loops.run_samples(*(_array(tensor) for tensor in (u.transpose(0, 1), decay, readout, direct, after, y)))
    return y.transpose(0, 1), after


def in_chunks(u: Tensor, state: Tensor, matrices: ChunkMatrices) -> tuple[Tensor, Tensor]:
    """Compute the recurrence chunk by chunk; differentiable once.

    Args:
        u: (batch, channels, time); time is a positive multiple of the chunk size.
        state: s before the first sample, (batch, channels, states, 2).
        matrices: from `chunk_matrices`.

    Returns:
        y, (batch, channels, time), in which the items of a channel are adjacent in memory; and s after the last sample.
    """
    if traced():
        return _forward(u, state, matrices)[:2]
    y, end = _InChunks.apply(u, state, *matrices)  # type: ignore[no-untyped-call]
    return y, end


class _InChunks(torch.autograd.Function):
    """`in_chunks` outside a trace: it keeps only u, the states between chunks and the matrices for its gradients."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, state: Tensor, *matrices: Tensor) -> tuple[Tensor, Tensor]:
        y, end, entering = _forward(u, state, ChunkMatrices(*matrices))
        ctx.save_for_backward(u, entering, *matrices)
        return y, end

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        u, entering, direct, into_state, from_state, log_decay = ctx.saved_tensors
        gradient = _chunked(gradients[0], direct.shape[1])
        grad_entering = torch.bmm(gradient, from_state.mT).view_as(entering)
        grad_added, grad_state, grad_log_decay = _carry_back(
            grad_entering, gradients[1].transpose(0, 1), entering, log_decay
        )
        grad_added = grad_added.view(len(direct), -1, into_state.shape[2])
        grad_u = grad_direct = grad_into = grad_from = None
        if ctx.needs_input_grad[0]:
            grad_u = _joined(torch.bmm(gradient, direct.mT).baddbmm_(grad_added, into_state.mT), u)
        if any(ctx.needs_input_grad[2:]):
            samples, before = _chunked(u, direct.shape[1]), entering.view_as(grad_added)
            grad_direct, grad_from = torch.bmm(samples.mT, gradient), torch.bmm(before.mT, gradient)
            grad_into = torch.bmm(grad_added.mT, samples).mT  # three times as fast as the transposed product
        return grad_u, grad_state.transpose(0, 1), grad_direct, grad_into, grad_from, grad_log_decay


def _forward(u: Tensor, state: Tensor, matrices: ChunkMatrices) -> tuple[Tensor, Tensor, Tensor]:
    """Return y, the state after u, and the states that enter the chunks, (channels, batch, chunks, states, 2)."""
    channels, size, pairs = matrices.into_state.shape
    samples = _chunked(u, size)
    added = torch.bmm(samples, matrices.into_state).view(channels, u.shape[0], -1, pairs // 2, 2)
    entering, end = _carry(added, state.transpose(0, 1), matrices.log_decay)
    y = torch.bmm(samples, matrices.direct).baddbmm_(entering.view(channels, -1, pairs), matrices.from_state)
    return _joined(y, u), end.transpose(0, 1), entering


def _chunked(signal: Tensor, size: int) -> Tensor:
    """Cut a signal (batch, channels, time) into chunks, (channels, batch chunks, size)."""
    return signal.transpose(0, 1).reshape(signal.shape[1], -1, size)


def _joined(rows: Tensor, like: Tensor) -> Tensor:
    """Join chunks (channels, batch chunks, size) to a signal of the shape of `like`, (batch, channels, time)."""
    return rows.view(like.shape[1], like.shape[0], like.shape[2]).transpose(0, 1)


def chunk_matrices(log_decay: Tensor, readout: Tensor, direct: Tensor, size: int, dtype: torch.dtype) -> ChunkMatrices:
    """Compute the matrices of a chunk in the precision of `log_decay`, and round all but `log_decay` to `dtype`.

    Args:
        log_decay: log a, (channels, states), complex.
        readout: C', (channels, states), complex.
        direct: D, (channels,).
        size: samples of a chunk.
        dtype: dtype of the signals.
    """
    powers = powers_of(log_decay, range(size + 1))
    into_state = torch.view_as_real(powers[..., :size].flip(-1)).permute(0, 2, 1, 3)
    # 2 Re(C' a^l s) as a product of real numbers; with s = 1 it is the kernel.
    parts = torch.view_as_real(((2 * readout)[..., None] * powers).conj().resolve_conj()).transpose(2, 3)
    kernel = parts[:, :, 0, :size].sum(dim=1)
    first = kernel[:, :1] + direct[:, None]
    # Row i is the kernel, delayed by i samples.
    delayed = torch.cat((kernel.new_zeros(len(kernel), size - 1), first, kernel[:, 1:]), dim=1)
    own = delayed.unfold(1, size, 1).flip(1)
    from_state = parts[..., 1:].to(dtype).flatten(1, 2)
    return ChunkMatrices(own.to(dtype), into_state.to(dtype).flatten(2), from_state, log_decay * size)


def powers_of(log_decay: Tensor, exponents: range) -> Tensor:
    """Return exp(log_decay l) for each exponent l of a range in steps of 1, (channels, states, len(exponents))."""
    steps = torch.arange(exponents.start, exponents.stop, device=log_decay.device, dtype=log_decay.real.dtype)
    return torch.exp(log_decay[..., None] * steps)


def _carry(x: Tensor, start: Tensor, log_decay: Tensor) -> tuple[Tensor, Tensor]:
    """Carry the state from chunk to chunk: s[0] = start,  s[m+1] = a s[m] + x[m].

    Here a is the decay over a whole chunk. The recurrence runs in the precision of `start`, whatever the precision of
    x. The compiled form records no gradients; `_InChunks` calls the adjoint, `_carry_back`.

    Args:
        x: (channels, batch, chunks, states, 2), real and imaginary parts, at least one chunk.
        start: (channels, batch, states, 2).
        log_decay: log a, (channels, states), complex, in the precision of `start`.

    Returns:
        The states s[m] that enter the chunks, of the shape and dtype of x; and the state after the last chunk, of the
        shape and dtype of start.
    """
    return _carry_compiled(x, start, log_decay) if runs_compiled(x) else _carry_torch(x, start, log_decay)


def _carry_back(gradient: Tensor, at_end: Tensor, entering: Tensor, log_decay: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the adjoint of `_carry`: the same recurrence with conj(a), from the last chunk to the first.

    g[m] = conj(a) g[m+1] + gradient[m],  dx[m] = g[m+1],  dstart = g[0],  da = sum over items, m of conj(s[m]) g[m+1]

    Args:
        gradient: gradient of the states that enter the chunks, (channels, batch, chunks, states, 2).
        at_end: gradient of the last state, (channels, batch, states, 2).
        entering: states that enter the chunks, from `_carry`.
        log_decay: log a, (channels, states).

    Returns:
        The gradients of x, of start, and of log_decay, which is conj(a) da.
    """
    run = _carry_back_compiled if runs_compiled(entering) else _carry_back_torch
    return run(gradient, at_end, entering, log_decay)


def _carry_torch(x: Tensor, start: Tensor, log_decay: Tensor) -> tuple[Tensor, Tensor]:
    """Compute s[m+1] = a^(m+1) start + (x convolved with a^m) by FFT.

    On a GPU, a loop would launch kernels for each chunk.
    """
    chunks, powers = x.shape[2], _chunk_powers(log_decay, x.shape[2])
    first = _complex(start)[:, :, None]
    spectrum = fft.fft(_complex(x.to(start.dtype)), 2 * chunks, dim=2) * fft.fft(powers[:, :, :-1], 2 * chunks, dim=2)
    states = torch.addcmul(fft.ifft(spectrum, dim=2)[:, :, :chunks], powers[:, :, 1:], first)
    entering = torch.view_as_real(torch.cat((first, states[:, :, :-1]), dim=2))
    return entering.to(x.dtype), torch.view_as_real(states[:, :, -1])


def _carry_back_torch(
    gradient: Tensor, at_end: Tensor, entering: Tensor, log_decay: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute g[m] = conj(a)^(chunks - m) at_end + (the gradient correlated with a^m) by FFT."""
    chunks, powers = gradient.shape[2], _chunk_powers(log_decay, gradient.shape[2])
    last = _complex(at_end)[:, :, None]
    spectrum = fft.fft(_complex(gradient.to(at_end.dtype)), 2 * chunks, dim=2)
    spectrum = spectrum * fft.fft(powers[:, :, :-1], 2 * chunks, dim=2).conj()
    back = torch.addcmul(fft.ifft(spectrum, dim=2)[:, :, :chunks], powers[:, :, 1:].flip(2).conj(), last)
    grad_x = torch.cat((back[:, :, 1:], last), dim=2)
    after = _complex(entering.to(at_end.dtype)) * powers[:, :, 1:2]
    grad_log_decay = (after.conj() * grad_x).sum(dim=(1, 2))
    return torch.view_as_real(grad_x).to(entering.dtype), torch.view_as_real(back[:, :, 0]), grad_log_decay


def _chunk_powers(log_decay: Tensor, last: int) -> Tensor:
    """Return a^0 … a^last, (channels, 1, last + 1, states)."""
    exponents = torch.arange(last + 1, device=log_decay.device, dtype=log_decay.real.dtype)
    return torch.exp(log_decay[:, None, None] * exponents[:, None])


def _complex(pairs: Tensor) -> Tensor:
    return torch.view_as_complex(pairs.contiguous())


def _carry_compiled(x: Tensor, start: Tensor, log_decay: Tensor) -> tuple[Tensor, Tensor]:
    x, decay = x.contiguous(), torch.view_as_real(torch.exp(log_decay))
    entering, end = torch.empty_like(x), start.clone(memory_format=torch.contiguous_format)
    loops.carry(*(_array(tensor) for tensor in (x, decay, entering, end)))
    return entering, end


def _carry_back_compiled(
    gradient: Tensor, at_end: Tensor, entering: Tensor, log_decay: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    gradient, carried = gradient.contiguous(), at_end.clone(memory_format=torch.contiguous_format)
    decay = torch.exp(log_decay)
    grad_x, grad_decay = torch.empty_like(entering), torch.zeros_like(decay)
    tensors = (gradient, entering, torch.view_as_real(decay), grad_x, carried, torch.view_as_real(grad_decay))
    loops.carry_back(*(_array(tensor) for tensor in tensors))
    return grad_x, carried, decay.conj() * grad_decay


def _array(tensor: Tensor) -> np.ndarray[Any, Any]:
    """Return the values as a contiguous array, which shares memory with a tensor that is already contiguous."""
    return tensor.detach().contiguous().numpy()
