"""A second-order section and its adjoint as a parallel scan in torch, for accelerators.

Sample t maps the state (z1, z2) by z' = A z + B x; maps compose, so T of them take log2(T) steps, each over the
whole signal at once. The same numbers as `nablafx_dsp.kernels.biquad`, in another order: output, state and gradients
of a cascade within 1e-9 of them in float64 and within 1e-5 for float32 audio, relative to the peak of each; on MPS,
which has no float64, within 1e-3 for poles of radius below 0.99.
"""

from __future__ import annotations

import torch
from torch import Tensor


def forward(audio: Tensor, coefficients: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Filter a signal by one section.

    Args:
        audio: (batch, time).
        coefficients: b0, b1, b2, a1, a2, (batch, 5, time), or (batch, 5, 1) where they stand still.
        state: z1 and z2 before the first sample, (batch, 2).

    Returns:
        The output, of the audio's shape and type, and the state after the last sample.
    """
    b0, b1, b2, a1, a2 = coefficients.unbind(1)
    x = audio.to(coefficients.dtype)
    drive = torch.stack([(b1 - a1 * b0) * x, (b2 - a2 * b0) * x], dim=-1)
    after = linear_recursion(_transition(a1, a2), drive, state)
    before = torch.cat([state[:, None], after], dim=1)
    return (b0 * x + before[:, :-1, 0]).to(audio.dtype), before[:, -1]


def backward(
    grad_output: Tensor, grad_final: Tensor, audio: Tensor, output: Tensor, coefficients: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients for audio, coefficients and initial state; the recursion of `nablafx_dsp.kernels.biquad.backward_of`.

    Args:
        grad_output: (batch, time).
        grad_final: (batch, 2).
        audio, output, coefficients: what `forward` took and gave.
    """
    b0, b1, b2, a1, a2 = coefficients.unbind(1)
    g, x, y = (signal.to(coefficients.dtype) for signal in (grad_output, audio, output))
    reversed_transition = _transition(a1, a2).flip(1).transpose(-1, -2)
    drive = torch.stack([g, torch.zeros_like(g)], dim=-1).flip(1)
    before = linear_recursion(reversed_transition, drive, grad_final).flip(1)
    after = torch.cat([before, grad_final[:, None]], dim=1)
    h, l1, l2 = before[..., 0], after[:, 1:, 0], after[:, 1:, 1]
    grad_coefficients = torch.stack([h * x, l1 * x, l2 * x, -l1 * y, -l2 * y], dim=1)
    if coefficients.shape[-1] == 1:
        grad_coefficients = grad_coefficients.sum(-1, keepdim=True)
    return (b0 * h + b1 * l1 + b2 * l2).to(audio.dtype), grad_coefficients, after[:, 0]


def _transition(a1: Tensor, a2: Tensor) -> Tensor:
    """A, (batch, frames, 2, 2)."""
    one = torch.ones_like(a1)
    return torch.stack([torch.stack([-a1, one], -1), torch.stack([-a2, torch.zeros_like(a1)], -1)], -2)


def linear_recursion(transition: Tensor, drive: Tensor, initial: Tensor) -> Tensor:
    """v[t] = A[t] v[t-1] + drive[t], by doubling (Hillis and Steele, "Data parallel algorithms", CACM 1986).

    Args:
        transition: A, (batch, time, n, n), or (batch, 1, n, n) where it stands still.
        drive: (batch, time, n).
        initial: v[-1], (batch, n).

    Returns:
        v, (batch, time, n).
    """
    if drive.shape[1] == 0:
        return drive
    first = drive[:, :1] + (transition[:, :1] @ initial[:, None, :, None])[..., 0]
    value, moves = torch.cat([first, drive[:, 1:]], dim=1), transition.shape[1] > 1
    shift = 1
    while shift < value.shape[1]:
        late = transition[:, shift:] if moves else transition
        carried = (late @ value[:, :-shift, :, None])[..., 0]
        value = torch.cat([value[:, :shift], value[:, shift:] + carried], dim=1)
        if moves:
            transition = torch.cat([transition[:, :shift], late @ transition[:, :-shift]], dim=1)
        else:
            transition = transition @ transition
        shift *= 2
    return value
