"""Long finite impulse responses in small blocks, without latency."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from nablafx_core.kernels.choice import compiled_for
from nablafx_core.state import State
from nablafx_dsp.functional.fir import fir
from nablafx_dsp.kernels import partitioned_fir as kernel

#: Number of samples of a part.
SIZE = 256


class Partitions(NamedTuple):
    """An impulse response in parts of equal length, the last one padded with zeros.

    Args:
        head: first part, (batch or 1, size).
        spectra: spectra of the other parts, each padded with zeros to twice its length; real and imaginary parts
            separate, (batch or 1, parts - 1, 2, size + 1).
    """

    head: Tensor
    spectra: Tensor


def partitions(taps: Tensor, size: int = SIZE) -> Partitions:
    """Cut an impulse response into parts: once for a stream, or in every step of a training.

    Args:
        taps: impulse response, (batch or 1, taps).
        size: number of samples of a part.
    """
    parts = F.pad(taps, (0, -taps.shape[-1] % size)).reshape(len(taps), -1, size)
    if parts.shape[1] == 1:  # nothing to transform
        return Partitions(parts[:, 0], taps.new_zeros(len(taps), 0, 2, size + 1))
    return Partitions(parts[:, 0], _planes(torch.fft.rfft(parts[:, 1:], n=2 * size)))


def partitioned_fir(audio: Tensor, response: Partitions, state: State | None = None) -> tuple[Tensor, State]:
    """Filter a signal by an impulse response, at a cost per sample that does not depend on the length of each call.

    y[t] = sum over k of taps[k] x[t - k], as `fir` computes it. The first part is summed directly, so that there is no
    latency. The spectra of the other parts are multiplied with those of earlier blocks of the signal; blocks are as
    long as a part and begin with the signal (uniformly partitioned overlap-save, Wefers, "Partitioned convolution
    algorithms for real-time auralization", 2015). A stream needs one forward and one inverse transform per block. For a
    whole signal, `fir` is faster.

    Differentiable in audio, response and state, once where compiled.

    Args:
        audio: x, (batch, time).
        response: impulse response from `partitions`.
        state: state that the call before returned; silence if None. It has ``past``, the last complete block and then
            the samples of the unfinished one; ``spectra``, the spectra of the earlier blocks; and ``tail``, what these
            add to the output of the unfinished block.

    Returns:
        The output (batch, time) and the final state.
    """
    (batch, time), size, count = audio.shape, response.head.shape[-1], response.spectra.shape[1]
    if state is None:
        silence = audio.new_zeros
        state = {"past": silence(batch, size), "tail": silence(batch, size)}
        state["spectra"] = silence(batch, count, 2, size + 1)
    past = state["past"]
    begun = past.shape[-1] - size
    output, _ = fir(audio, response.head, past[:, 1 + begun :])
    signal = torch.cat([past, audio], dim=-1)
    complete = (begun + time) // size
    tails, spectra = state["tail"], state["spectra"]
    if complete and count:
        blocks = signal[:, : (complete + 1) * size].unfold(-1, 2 * size, size)
        spectra = torch.cat([spectra, _planes(torch.fft.rfft(blocks))], dim=1)
        real, imaginary = _multiplied(spectra[:, 1:], response.spectra).unbind(-2)
        later = torch.fft.irfft(torch.complex(real, imaginary), n=2 * size)[..., size:]
        tails = torch.cat([tails, later.flatten(1)], dim=-1)
    if count:
        output = output + tails[:, begun : begun + time]
    latest = spectra[:, spectra.shape[1] - count :]
    after = {"past": signal[:, complete * size :], "tail": tails[:, -size:], "spectra": latest}
    return output, after


def _planes(spectrum: Tensor) -> Tensor:
    return torch.stack([spectrum.real, spectrum.imag], dim=-2)


def _multiplied(blocks: Tensor, parts: Tensor) -> Tensor:
    """Multiply spectra of blocks and parts and sum them; see `nablafx_dsp.kernels.partitioned_fir.forward`."""
    if compiled_for(blocks, parts, dtypes=(torch.float32, torch.float64)):
        product: Tensor = _Multiplied.apply(blocks.contiguous(), parts.contiguous())  # type: ignore[no-untyped-call]
        return product
    total, count = torch.zeros((), device=blocks.device), parts.shape[1]
    for p in range(count):
        (x, y), (a, b) = blocks[:, count - 1 - p : blocks.shape[1] - p].unbind(-2), parts[:, p, None].unbind(-2)
        total = total + torch.stack([a * x - b * y, a * y + b * x], dim=-2)
    return total


class _Multiplied(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, blocks: Tensor, parts: Tensor) -> Tensor:
        ctx.save_for_backward(blocks, parts)
        return kernel.forward(blocks, parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        gradients = kernel.backward(gradient.contiguous(), *ctx.saved_tensors)
        return tuple(g if need else None for g, need in zip(gradients, ctx.needs_input_grad, strict=True))
