"""A state carried from chunk to chunk: one complex linear recurrence per channel and state, and its adjoint."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from nablafx_core.kernels.choice import compiled_for
from nablafx_core.kernels.compiled import compiled


class Carry(torch.autograd.Function):
    """s[0] = start,  s[m+1] = a s[m] + x[m]: the states that enter the chunks, and the one after the last.

    The recurrence runs in the precision of `start`, whatever that of x. Backwards it is the same recurrence from the
    end: g[m] = conj(a) g[m+1] + grad[m],  dx[m] = g[m+1],  dstart = g[0],  da = sum over m of conj(s[m]) g[m+1].
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, start: Tensor, decay: Tensor) -> tuple[Tensor, Tensor]:
        """Run it.

        Args:
            ctx: torch's.
            x: (channels, batch, chunks, states, 2), real and imaginary parts.
            start: (channels, batch, states, 2).
            decay: (channels, states, 2).

        Returns:
            The states that enter the chunks, like x; and the last, like start.
        """
        x, start, decay = x.contiguous(), start.contiguous(), decay.contiguous()
        entering, end = torch.empty_like(x), start.clone()
        _choose((x, start, decay), _forward_torch, _forward_numba)(x, decay, entering, end)
        ctx.save_for_backward(entering, decay)
        return entering, end

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of x, start and decay."""
        entering, decay = ctx.saved_tensors
        gradient, at_end = gradients[0].contiguous(), gradients[1].contiguous().clone()
        of_x, of_decay = torch.empty_like(entering), torch.zeros_like(decay)
        _choose((gradient, entering, decay, at_end), _backward_torch, _backward_numba)(
            gradient, entering, decay, of_x, at_end, of_decay
        )
        return of_x, at_end, of_decay


def _choose(tensors: tuple[Tensor, ...], in_torch: Any, in_numba: Any) -> Any:
    return in_numba if compiled_for(*tensors, dtypes=(torch.float32, torch.float64)) else in_torch


def _forward_numba(x: Tensor, decay: Tensor, entering: Tensor, end: Tensor) -> None:
    _run(*(_array(tensor) for tensor in (x, decay, entering, end)))  # type: ignore[no-untyped-call]


def _backward_numba(
    gradient: Tensor, entering: Tensor, decay: Tensor, of_x: Tensor, carried: Tensor, of_decay: Tensor
) -> None:
    tensors = (gradient, entering, decay, of_x, carried, of_decay)
    _run_back(*(_array(tensor) for tensor in tensors))  # type: ignore[no-untyped-call]


def _array(tensor: Tensor) -> np.ndarray[Any, Any]:
    return tensor.detach().numpy()


def _forward_torch(x: Tensor, decay: Tensor, entering: Tensor, end: Tensor) -> None:
    state, a = torch.view_as_complex(end), torch.view_as_complex(decay)[:, None]
    for m in range(x.shape[2]):
        entering[:, :, m] = torch.view_as_real(state)
        state.mul_(a).add_(torch.view_as_complex(x[:, :, m].to(end.dtype).contiguous()))


def _backward_torch(
    gradient: Tensor, entering: Tensor, decay: Tensor, of_x: Tensor, carried: Tensor, of_decay: Tensor
) -> None:
    g, a = torch.view_as_complex(carried), torch.view_as_complex(decay).conj()[:, None]
    total = torch.view_as_complex(of_decay)
    for m in range(gradient.shape[2] - 1, -1, -1):
        of_x[:, :, m] = torch.view_as_real(g)
        state = torch.view_as_complex(entering[:, :, m].to(decay.dtype).contiguous())
        total += (state.conj() * g).sum(dim=1)
        g.mul_(a).add_(torch.view_as_complex(gradient[:, :, m].to(decay.dtype).contiguous()))


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
