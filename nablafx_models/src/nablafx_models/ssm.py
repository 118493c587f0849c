"""Diagonal state-space layers: one linear recurrence per channel, computed in chunks."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from nablafx_models.kernels.carry import Carry

#: Samples of a chunk, for few states and for many. Inside one the layer is a product with a matrix; between two, the
#: state is carried. A long chunk makes the matrix large, a short one keeps many states.
CHUNKS = 64, 128
_FEW_STATES = 8


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
            torch.einsum("hn,hnl->hl", readout, _powers(log_decay, range(start, min(start + 4096, length)))).real
            for start in range(0, length, 4096)
        ]
        return 2 * torch.cat(parts, dim=-1).to(self.D.dtype)

    def forward(self, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Process u (batch, channels, time) from a state, and give the state after it."""
        time = u.shape[-1]
        chunk = CHUNKS[self.num_states > _FEW_STATES]
        whole = time // chunk * chunk
        parts = []
        for part, size in ((u[..., :whole], chunk), (u[..., whole:], time - whole)):
            if part.shape[-1]:
                out, state = self._chunks(part, size, state)
                parts.append(out)
        y = torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0] if parts else u
        return y, state

    def _chunks(self, u: Tensor, size: int, state: Tensor) -> tuple[Tensor, Tensor]:
        """`forward` for a whole number of chunks of `size` samples."""
        batch, channels, time = u.shape
        log_decay, readout = self._recurrence()
        powers = _powers(log_decay, range(size + 1))
        local = self._inside(powers, readout, size).to(u.dtype)
        chunks = u.transpose(0, 1).reshape(channels, -1, size)
        both = torch.bmm(chunks, local).split((size, 2 * self.num_states), dim=-1)  # type: ignore[no-untyped-call]
        injected = both[1].reshape(channels, batch, time // size, self.num_states, 2)
        decay = torch.view_as_real(powers[..., size])
        entering, end = Carry.apply(injected, state.transpose(0, 1), decay)  # type: ignore[no-untyped-call]
        # 2 Re(C' a^(i+1) s) as a product of real matrices.
        readout = 2 * torch.view_as_real((readout[..., None] * powers[..., 1:]).conj().resolve_conj())
        matrix = readout.permute(0, 1, 3, 2).reshape(channels, -1, size).to(u.dtype)
        y = torch.baddbmm(both[0], entering.view(channels, -1, matrix.shape[1]), matrix)
        return y.view(channels, batch, time).transpose(0, 1), end.transpose(0, 1)

    def _inside(self, powers: Tensor, readout: Tensor, size: int) -> Tensor:
        """From the samples of a chunk to its own part of the output, and to its part of the state after it.

        (channels, size, size + 2 num_states).
        """
        kernel = 2 * torch.einsum("hn,hnl->hl", readout, powers[..., :size]).real
        kernel = torch.cat((kernel[:, :1] + self.D[:, None].to(kernel.dtype), kernel[:, 1:]), dim=1)
        lags = torch.arange(size, device=kernel.device)
        lags = lags[None] - lags[:, None]  # output sample minus input sample
        own = torch.where(lags >= 0, kernel[:, lags.clamp(min=0)], 0)
        into_state = torch.view_as_real(powers[..., :size].flip(-1)).permute(0, 2, 1, 3).flatten(2)
        return torch.cat((own, into_state), dim=-1)

    def _recurrence(self) -> tuple[Tensor, Tensor]:
        """log exp(A dt), and C'; (channels, num_states), complex."""
        wide = _wide(self.C)
        a = torch.complex(-torch.exp(self.log_A_real.to(wide)), self.A_imag.to(wide))
        log_decay = a * torch.exp(self.log_dt.to(wide))[:, None]
        c = torch.view_as_complex(self.C.to(wide).contiguous())
        return log_decay, c * (torch.exp(log_decay) - 1) / a


def _wide(like: Tensor) -> torch.dtype:
    return torch.float32 if like.device.type == "mps" else torch.float64


def _powers(log_decay: Tensor, exponents: range) -> Tensor:
    """exp(log_decay l) for each l, (channels, num_states, len(exponents))."""
    steps = torch.arange(exponents.start, exponents.stop, device=log_decay.device, dtype=log_decay.real.dtype)
    return torch.exp(log_decay[..., None] * steps)
