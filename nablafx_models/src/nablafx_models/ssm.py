"""Diagonal state-space layers: one linear recurrence per channel, computed in chunks."""

from __future__ import annotations

import math
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from nablafx_models.kernels.carry import array, choose
from nablafx_models.kernels.chunks import in_chunks, matrices, powers_of
from nablafx_models.kernels.samples import in_samples

#: Samples of a chunk, for few states and for many. Inside one the layer is a product with a matrix; between two, the
#: state is carried. A long chunk makes the matrix large, a short one keeps many states.
CHUNKS = 64, 128
_FEW_STATES = 8

Array = np.ndarray[Any, Any]

#: Of each layer the values of its parameters, and what was computed of them; no part of the layer, which is copied,
#: saved and shared between threads.
_REMEMBERED: WeakKeyDictionary[S4D, tuple[tuple[Tensor, ...], tuple[Array, Array]]] = WeakKeyDictionary()


class S4D(nn.Module):
    """A diagonal state-space layer (Gu et al., 2022, "On the parameterization and initialization of diagonal SSMs").

    Per channel, over complex states that each stand for a conjugate pair, with A = -exp(log_A_real) + i A_imag and
    dt = exp(log_dt):

    s_n[t] = exp(A_n dt) s_n[t-1] + u[t],  y[t] = 2 Re sum over n of C'_n s_n[t] + D u[t],  C' = C (exp(A dt) - 1) / A

    which is the convolution of u with the kernel K[l] = 2 Re sum over n of C'_n exp(A_n dt l). The powers are computed
    and the state is carried in float64 where the device has it: in float32 the phase of a long memory drifts.

    Args:
        channels: each with states and weights of its own.
        num_states: complex states of a channel.
        learning_rate: of log_dt, log_A_real and A_imag, which have no weight decay: a few steps too large make a memory
            of seconds, or none. That of the training if None.
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
            parameter.optimizer_settings = wanted  # type: ignore[attr-defined]

    def macs_per_sample(self) -> float:
        """What the recurrence above needs, channel by channel.

        4 for each state's complex product, 2 for its part in y, of which the real part is used, and 1 for D u. The
        computation in chunks does more arithmetic than this in less time.
        """
        channels, states = self.log_A_real.shape
        return channels * (6 * states + 1)

    def initial_state(self, batch_size: int) -> Tensor:
        """Zero states, (batch, channels, num_states, 2): real and imaginary part."""
        return torch.zeros(batch_size, *self.C.shape, dtype=_wide(self.C), device=self.C.device)

    def kernel(self, length: int) -> Tensor:
        """K[l] for l from 0 to length - 1, without D; (channels, length)."""
        log_decay, readout = self._recurrence()
        parts = [
            torch.einsum("hn,hnl->hl", readout, powers_of(log_decay, range(start, min(start + 4096, length)))).real
            for start in range(0, length, 4096)
        ]
        return 2 * torch.cat(parts, dim=-1).to(self.D.dtype)

    def forward(self, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Process u (batch, channels, time) from a state, and give the state after it."""
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (u, state, *self.parameters())):
            return self._in_chunks(u, state)
        return choose(u, self._in_chunks, self._in_samples)(u, state)

    def _in_samples(self, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return in_samples(u, state, *_remembered(self), self.D)

    def _in_chunks(self, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """In chunks of one size, and what is left at the end as a shorter one."""
        weights = *self._recurrence(), self.D
        time = u.shape[-1]
        chunk = CHUNKS[self.num_states > _FEW_STATES]
        whole = time // chunk * chunk
        parts = []
        for part, size in ((u[..., :whole], chunk), (u[..., whole:], time - whole)):
            if part.shape[-1]:
                out, state = in_chunks(part, state, matrices(*weights, size, u.dtype))
                parts.append(out)
        return torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0] if parts else u, state

    def _recurrence(self) -> tuple[Tensor, Tensor]:
        """log exp(A dt), and C'; (channels, num_states), complex."""
        wide = _wide(self.C)
        a = torch.complex(-torch.exp(self.log_A_real.to(wide)), self.A_imag.to(wide))
        log_decay = a * torch.exp(self.log_dt.to(wide))[:, None]
        c = torch.view_as_complex(self.C.to(wide).contiguous())
        return log_decay, c * (torch.exp(log_decay) - 1) / a

    def _of_samples(self) -> tuple[Array, Array]:
        """exp(A dt), and C', for a compiled kernel."""
        log_decay, readout = self._recurrence()
        return array(torch.exp(log_decay)), array(readout)


def _remembered(layer: S4D) -> tuple[Array, Array]:
    """What `layer` computes with from sample to sample, computed again when a parameter's values are others.

    In a stream it would take longer than the samples. The values themselves are compared: no other sign of a change
    is there for all of the ways to make one.
    """
    parameters = (layer.log_dt, layer.C, layer.log_A_real, layer.A_imag)
    values, computed = _REMEMBERED.get(layer, ((), None))
    if computed is None or not all(map(_same, parameters, values)):
        values = tuple(parameter.detach().clone() for parameter in parameters)
        computed = layer._of_samples()
        _REMEMBERED[layer] = values, computed
    return computed


def _same(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other)


def _wide(like: Tensor) -> torch.dtype:
    return torch.float32 if like.device.type == "mps" else torch.float64
