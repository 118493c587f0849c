"""Finite impulse responses as a differentiable function with state."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from nablafx_core.errors import ModelError
from nablafx_core.kernels.choice import compiled_for
from nablafx_dsp.kernels.fir import correlate

#: Largest number of taps whose sums are computed directly; longer responses are multiplied in the frequency domain,
#: which is faster for them.
LONG = 256


def fir(audio: Tensor, taps: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Filter a signal by a finite impulse response, without latency: y[t] = sum over k of taps[k] x[t - k].

    Up to `LONG` taps the sums are computed directly, compiled for float32 and float64 on the CPU, where a stream gives
    the same bits as the whole signal. Longer responses use fast Fourier transforms of overlapping blocks
    (overlap-save). The errors of both are within 1e-6 (float32) or 1e-14 (float64) of the output's peak.

    Differentiable in audio, taps and state: once where compiled, otherwise any number of times.

    Args:
        audio: (batch, time).
        taps: impulse response, (batch, taps), or (1, taps) for all items.
        state: the taps - 1 samples of audio before the first one, the latest last, (batch, taps - 1); silence if None.

    Returns:
        The output (batch, time), and the final state, (batch, taps - 1), in the dtype of the audio.

    Raises:
        ModelError: if the shape of the taps or of the state does not match the audio.
    """
    (batch, time), past = audio.shape, taps.shape[-1] - 1
    if taps.ndim != 2 or taps.shape[0] not in (1, batch) or past < 0:
        raise ModelError(
            f"fir: expected taps of shape ({batch}, taps) or (1, taps) for audio of shape {tuple(audio.shape)}, got "
            f"{tuple(taps.shape)}."
        )
    state = audio.new_zeros(batch, past) if state is None else state
    if state.shape != (batch, past):
        raise ModelError(
            f"fir: expected a state of shape ({batch}, {past}) for {past + 1} taps, got {tuple(state.shape)}."
        )
    signal, taps = torch.cat([state.to(audio.dtype), audio], dim=-1), taps.to(audio.dtype)
    after = signal[:, time:]
    if not time:
        return audio, after
    if past >= LONG:
        return _overlap_save(signal, taps), after
    if compiled_for(signal, taps, dtypes=(torch.float32, torch.float64)):
        output: Tensor = _Correlate.apply(signal, taps.flip(-1))  # type: ignore[no-untyped-call]
        return output, after
    groups = signal.expand(batch, -1)[None]
    return F.conv1d(groups, taps.flip(-1).expand(batch, -1)[:, None], groups=batch)[0], after


class _Correlate(torch.autograd.Function):
    """The function `correlate` with its gradients, which are correlations too."""

    @staticmethod
    def forward(ctx: Any, signal: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(signal, weights)
        return correlate(signal, weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        signal, weights = ctx.saved_tensors
        of_signal = of_weights = None
        if ctx.needs_input_grad[0]:
            around = weights.shape[1] - 1
            of_signal = correlate(F.pad(gradient, (around, around)), weights.flip(-1))
        if ctx.needs_input_grad[1]:
            of_weights = correlate(signal, gradient)
            if len(weights) == 1:
                of_weights = of_weights.sum(0, keepdim=True)
        return of_signal, of_weights


def _overlap_save(signal: Tensor, taps: Tensor) -> Tensor:
    """Convolve by overlap-save: blocks of a circular convolution without the first taps - 1 samples of each.

    Args:
        signal: the past and then the audio, (batch, taps - 1 + time).
        taps: (batch or 1, taps).

    Returns:
        (batch, time).
    """
    past = taps.shape[-1] - 1
    time = signal.shape[-1] - past
    size = 1 << (min(time, 3 * past) + past - 1).bit_length()  # a power of two, up to 8 times the past
    step = size - past
    count = -(-time // step)
    blocks = F.pad(signal, (0, count * step - time)).unfold(-1, size, step)
    spectra = torch.fft.rfft(blocks) * torch.fft.rfft(taps, n=size)[:, None]
    output: Tensor = torch.fft.irfft(spectra, n=size)
    return output[..., past:].flatten(1)[:, :time]
