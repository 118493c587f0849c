"""Diagonal state-space layer: one linear recurrence per channel."""

from __future__ import annotations

import math
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from nablafx_core.weights import train_with
from nablafx_models.functional.diagonal_recurrence import (
    chunk_matrices,
    in_chunks,
    in_samples,
    powers_of,
    runs_compiled,
)

#: Samples of a chunk, for at most `_FEW_STATES` states and for more. A chunk is processed by a product with a matrix;
#: the state is carried from chunk to chunk. Long chunks need large matrices, short ones keep many states for gradients.
CHUNKS = 64, 128
_FEW_STATES = 8

#: For each layer, the values of its parameters and what was computed from them. Kept outside the layer, because a layer
#: is copied, saved and shared between threads.
_CACHED: WeakKeyDictionary[S4D, tuple[tuple[Tensor, ...], tuple[Tensor, Tensor]]] = WeakKeyDictionary()


class S4D(nn.Module):
    """Diagonal state-space layer (Gu et al., 2022, "On the parameterization and initialization of diagonal SSMs").

    It maps u, (batch, channels, time), to y of the same shape.

    Each channel has complex states, each of which stands for a conjugate pair. With A = -exp(log_A_real) + i A_imag and
    dt = exp(log_dt):

    s_n[t] = exp(A_n dt) s_n[t-1] + u[t],  y[t] = 2 Re sum over n of C'_n s_n[t] + D u[t],  C' = C (exp(A dt) - 1) / A

    From a zero state this is the convolution of u with the kernel K[l] = 2 Re sum over n of C'_n exp(A_n dt l), plus
    D u. Powers and states are float64 (float32 on MPS): in float32 the phase of a long memory drifts.

    Args:
        channels: number of channels, each with its own states and weights.
        num_states: complex states per channel.
        learning_rate: learning rate of log_dt, log_A_real and A_imag; that of the training if None. These parameters
            have no weight decay, and a few steps that are too large give a memory of seconds, or none.
    """

    def __init__(self, channels: int, num_states: int, learning_rate: float | None = None) -> None:
        super().__init__()
        self.num_states = num_states
        low, high = math.log(1e-3), math.log(1e-1)
        self.log_dt = nn.Parameter(torch.rand(channels) * (high - low) + low)
        self.C = nn.Parameter(torch.view_as_real(torch.randn(channels, num_states, dtype=torch.cfloat)))
        self.log_A_real = nn.Parameter(torch.full((channels, num_states), math.log(0.5)))
        self.A_imag = nn.Parameter(math.pi * torch.arange(num_states).float().repeat(channels, 1))
        self.D = nn.Parameter(torch.randn(channels))
        wanted = {"weight_decay": 0.0} | ({} if learning_rate is None else {"lr": learning_rate})
        for parameter in (self.log_dt, self.log_A_real, self.A_imag):
            train_with(parameter, **wanted)

    def macs_per_sample(self) -> float:
        """Return the multiply-accumulates of the recurrence per sample, for all channels.

        Per channel: 4 for the complex product of each state, 2 for its part of y (only the real part is used), and 1
        for D u. The computation in chunks does more arithmetic in less time.
        """
        channels, states = self.log_A_real.shape
        return channels * (6 * states + 1)

    def initial_state(self, batch_size: int) -> Tensor:
        """Return zero states, (batch, channels, num_states, 2), real and imaginary parts, float64 (float32 on MPS)."""
        return torch.zeros(batch_size, *self.C.shape, dtype=_wide_dtype(self.C), device=self.C.device)

    def kernel(self, length: int) -> Tensor:
        """Return K[l] for l from 0 to length - 1, without D, (channels, length)."""
        log_decay, readout = self._recurrence()
        parts = [
            torch.einsum("hn,hnl->hl", readout, powers_of(log_decay, range(start, min(start + 4096, length)))).real
            for start in range(0, length, 4096)
        ]
        return 2 * torch.cat(parts, dim=-1).to(self.D.dtype)

    def forward(self, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Process u (batch, channels, time) from a state; return y, of the shape of u, and the state after it.

        If gradients are required, or no compiled loop can process u, it is computed in chunks; otherwise sample by
        sample.
        """
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (u, state, *self.parameters())):
            return self._in_chunks(u, state)
        return self._in_samples(u, state) if runs_compiled(u) else self._in_chunks(u, state)

    def _in_samples(self, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return in_samples(u, state, *_cached_recurrence(self), self.D)

    def _in_chunks(self, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Process whole chunks, then the remaining samples as one shorter chunk."""
        weights = *self._recurrence(), self.D
        time = u.shape[-1]
        chunk = CHUNKS[self.num_states > _FEW_STATES]
        whole = time // chunk * chunk
        parts = []
        for part, size in ((u[..., :whole], chunk), (u[..., whole:], time - whole)):
            if part.shape[-1]:
                out, state = in_chunks(part, state, chunk_matrices(*weights, size, u.dtype))
                parts.append(out)
        return torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0] if parts else u, state

    def _recurrence(self) -> tuple[Tensor, Tensor]:
        """Return A dt and C', (channels, num_states), complex."""
        wide = _wide_dtype(self.C)
        a = torch.complex(-torch.exp(self.log_A_real.to(wide)), self.A_imag.to(wide))
        log_decay = a * torch.exp(self.log_dt.to(wide))[:, None]
        c = torch.view_as_complex(self.C.to(wide).contiguous())
        return log_decay, c * (torch.exp(log_decay) - 1) / a


def _cached_recurrence(layer: S4D) -> tuple[Tensor, Tensor]:
    """Return exp(A dt) and C' of a layer without gradients; compute them again only if a parameter changed.

    In a stream of short blocks, computing them would take longer than processing the samples. The values of the
    parameters are compared, because no other check detects every way to change them.
    """
    parameters = (layer.log_dt, layer.C, layer.log_A_real, layer.A_imag)
    values, computed = _CACHED.get(layer, ((), None))
    if computed is None or not all(map(_same, parameters, values)):
        values = tuple(parameter.detach().clone() for parameter in parameters)
        log_decay, readout = layer._recurrence()
        computed = torch.exp(log_decay).detach(), readout.detach()
        _CACHED[layer] = values, computed
    return computed


def _same(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other)


def _wide_dtype(like: Tensor) -> torch.dtype:
    return torch.float32 if like.device.type == "mps" else torch.float64
