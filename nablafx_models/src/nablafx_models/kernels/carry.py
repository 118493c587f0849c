"""A state carried from chunk to chunk: one complex linear recurrence per channel and state, and its adjoint."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, fft

from nablafx_core.kernels.choice import compiled_for
from nablafx_core.kernels.compiled import compiled

Choice = TypeVar("Choice")


def choose(like: Tensor, in_torch: Choice, in_numba: Choice) -> Choice:
    """The compiled one of two forms where it can run."""
    return in_numba if compiled_for(like, dtypes=(torch.float32, torch.float64)) else in_torch


def carry(x: Tensor, start: Tensor, log_decay: Tensor) -> tuple[Tensor, Tensor]:
    """s[0] = start,  s[m+1] = a s[m] + x[m]: the states that enter the chunks, and the one after the last.

    The recurrence runs in the precision of `start`, whatever that of x.

    Args:
        x: (channels, batch, chunks, states, 2), real and imaginary parts, at least one chunk.
        start: (channels, batch, states, 2).
        log_decay: log a, (channels, states), complex, of the precision of `start`.

    Returns:
        The states that enter the chunks, like x; and the last, like start.
    """
    return choose(x, _forward_torch, _forward_numba)(x, start, log_decay)


def carry_back(gradient: Tensor, at_end: Tensor, entering: Tensor, log_decay: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The adjoint of `carry`, which is the same recurrence from the end.

    g[m] = conj(a) g[m+1] + gradient[m],  dx[m] = g[m+1],  dstart = g[0],  da = sum over m of conj(s[m]) g[m+1]

    Args:
        gradient: of the states that enter the chunks, like them.
        at_end: of the last state.
        entering: what `carry` gave.
        log_decay: log a.

    Returns:
        The gradients of x, start and log_decay, conj(a) da.
    """
    return choose(entering, _backward_torch, _backward_numba)(gradient, at_end, entering, log_decay)


def _forward_torch(x: Tensor, start: Tensor, log_decay: Tensor) -> tuple[Tensor, Tensor]:
    """s[m+1] = a^(m+1) start + the convolution of x and a^m: on a GPU a loop over chunks is a launch for each."""
    chunks, powers = x.shape[2], _powers(log_decay, x.shape[2])
    first = _complex(start)[:, :, None]
    spectrum = fft.fft(_complex(x.to(start.dtype)), 2 * chunks, dim=2) * fft.fft(powers[:, :, :-1], 2 * chunks, dim=2)
    states = torch.addcmul(fft.ifft(spectrum, dim=2)[:, :, :chunks], powers[:, :, 1:], first)
    entering = torch.view_as_real(torch.cat((first, states[:, :, :-1]), dim=2))
    return entering.to(x.dtype), torch.view_as_real(states[:, :, -1])


def _backward_torch(
    gradient: Tensor, at_end: Tensor, entering: Tensor, log_decay: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """g[m] = conj(a)^(chunks - m) at_end + the correlation of the gradient and a^m."""
    chunks, powers = gradient.shape[2], _powers(log_decay, gradient.shape[2])
    last = _complex(at_end)[:, :, None]
    spectrum = fft.fft(_complex(gradient.to(at_end.dtype)), 2 * chunks, dim=2)
    spectrum = spectrum * fft.fft(powers[:, :, :-1], 2 * chunks, dim=2).conj()
    back = torch.addcmul(fft.ifft(spectrum, dim=2)[:, :, :chunks], powers[:, :, 1:].flip(2).conj(), last)
    of_x = torch.cat((back[:, :, 1:], last), dim=2)
    after = _complex(entering.to(at_end.dtype)) * powers[:, :, 1:2]
    of_log_decay = (after.conj() * of_x).sum(dim=(1, 2))
    return torch.view_as_real(of_x).to(entering.dtype), torch.view_as_real(back[:, :, 0]), of_log_decay


def _powers(log_decay: Tensor, last: int) -> Tensor:
    """a^0 … a^last, (channels, 1, last + 1, states)."""
    exponents = torch.arange(last + 1, device=log_decay.device, dtype=log_decay.real.dtype)
    return torch.exp(log_decay[:, None, None] * exponents[:, None])


def _complex(pairs: Tensor) -> Tensor:
    return torch.view_as_complex(pairs.contiguous())


def _forward_numba(x: Tensor, start: Tensor, log_decay: Tensor) -> tuple[Tensor, Tensor]:
    x, decay = x.contiguous(), torch.view_as_real(torch.exp(log_decay))
    entering, end = torch.empty_like(x), start.clone(memory_format=torch.contiguous_format)
    _run(*(array(tensor) for tensor in (x, decay, entering, end)))  # type: ignore[no-untyped-call]
    return entering, end


def _backward_numba(
    gradient: Tensor, at_end: Tensor, entering: Tensor, log_decay: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    gradient, carried = gradient.contiguous(), at_end.clone(memory_format=torch.contiguous_format)
    decay = torch.exp(log_decay)
    of_x, of_decay = torch.empty_like(entering), torch.zeros_like(decay)
    tensors = (gradient, entering, torch.view_as_real(decay), of_x, carried, torch.view_as_real(of_decay))
    _run_back(*(array(tensor) for tensor in tensors))  # type: ignore[no-untyped-call]
    return of_x, carried, decay.conj() * of_decay


def array(tensor: Tensor) -> np.ndarray[Any, Any]:
    """A tensor's values for a compiled kernel, in one piece; what it writes there is seen if they were already."""
    return tensor.detach().contiguous().numpy()


@compiled
def _run(x, decay, entering, end):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    channels, batch, chunks, states, _ = x.shape
    for c in range(channels):
        for b in range(batch):
            s = end[c, b]
            for m in range(chunks):
                into, out = x[c, b, m], entering[c, b, m]
                for n in range(states):
                    re, im = s[n, 0], s[n, 1]
                    out[n, 0], out[n, 1] = re, im
                    a, w = decay[c, n, 0], decay[c, n, 1]
                    s[n, 0] = a * re - w * im + into[n, 0]
                    s[n, 1] = a * im + w * re + into[n, 1]


@compiled
def _run_back(gradient, entering, decay, of_x, carried, of_decay):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    channels, batch, chunks, states, _ = gradient.shape
    for c in range(channels):
        total = of_decay[c]
        for b in range(batch):
            g = carried[c, b]
            for m in range(chunks - 1, -1, -1):
                grad, s, out = gradient[c, b, m], entering[c, b, m], of_x[c, b, m]
                for n in range(states):
                    re, im = g[n, 0], g[n, 1]
                    out[n, 0], out[n, 1] = re, im
                    total[n, 0] += s[n, 0] * re + s[n, 1] * im
                    total[n, 1] += s[n, 0] * im - s[n, 1] * re
                    a, w = decay[c, n, 0], decay[c, n, 1]
                    g[n, 0] = a * re + w * im + grad[n, 0]
                    g[n, 1] = a * im - w * re + grad[n, 1]
